// Command testhub serves the test hub until it is interrupted, for those that are not written in Go: scripts/e2e/hub.sh
// and scripts/hub-bench.sh. It prints what to put into the environment, and then what the hub was asked, a line for each
// request, so that "nothing was fetched" can be shown.
//
//	go run ./scripts/testhub                       the sample repositories
//	go run ./scripts/testhub -big 1073741824 -of 4 and org/big: four shards of 1 GiB in all
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"radish/provision/hub/hubtest"
)

func main() {
	big := flag.Int64("big", 0, "bytes of org/big in all")
	shards := flag.Int("of", 4, "shards of org/big")
	dir := flag.String("dir", os.TempDir(), "where the shards of org/big are written")
	page := flag.Int("page", 1000, "entries on a page of the tree")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *big, *shards, *dir, *page); err != nil {
		fmt.Fprintln(os.Stderr, "testhub:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, big int64, shards int, dir string, page int) error {
	repos := hubtest.Sample()
	if big > 0 {
		r, err := bigRepo(big, shards, dir)
		if err != nil {
			return err
		}
		repos = append(repos, r)
	}
	h, err := hubtest.Start(repos...)
	if err != nil {
		return err
	}
	defer h.Close()
	h.PageSize = page
	h.Move("org/old", "org/model")
	fmt.Printf("HF_ENDPOINT=%s\nHUB_TOKEN=%s\n", h.URL, h.Token)
	for told := 0; ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
		log := h.Log()
		for _, q := range log[told:] {
			fmt.Printf("%s %s %s\n", q.Place, q.Method, q.Path)
		}
		told = len(log)
	}
	return nil
}

// bigRepo writes shards of noise, of which the first MiB differs, and lets the kernel send them.
func bigRepo(total int64, shards int, dir string) (*hubtest.Repo, error) {
	files := map[string]*hubtest.File{"config.json": hubtest.Bytes(false, []byte("{}"))}
	block := hubtest.Noise(1, 1<<20)
	for i := range shards {
		name := filepath.Join(dir, fmt.Sprintf("shard-%d", i))
		if err := write(name, total/int64(shards), i, block); err != nil {
			return nil, err
		}
		f, err := hubtest.From(true, func() (io.ReadSeekCloser, error) { return os.Open(name) })
		if err != nil {
			return nil, err
		}
		files[fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, shards)] = f
	}
	return hubtest.NewRepo("org/big", files), nil
}

func write(name string, size int64, seed int, block []byte) error {
	out, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write shard: %w", err)
	}
	defer out.Close()
	if _, err := out.Write(hubtest.Noise(uint64(seed)+2, 1<<20)); err != nil {
		return fmt.Errorf("write shard: %w", err)
	}
	for left := size - 1<<20; left > 0; left -= int64(len(block)) {
		if _, err := out.Write(block[:min(left, int64(len(block)))]); err != nil {
			return fmt.Errorf("write shard: %w", err)
		}
	}
	return nil
}
