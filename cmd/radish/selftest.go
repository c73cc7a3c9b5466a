package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"radish/cmd/internal/ui"
	"radish/doctor"
	"radish/doctor/host"
	"radish/kernels"
	"radish/kernels/cuda"
	"radish/kernels/cuda/image"
	"radish/kernels/kerneltest"
	"radish/server"
)

// trusted remembers which cards passed the kernels' self-test, with which driver and which images.
type trusted map[string]time.Time

// trustCard runs the self-test when this card has not passed it before with this driver and these kernels. A wrong
// result refuses the card; a cache that cannot be read or written costs another test, nothing else.
func trustCard(term *ui.Terminal, cfg *server.Config, card cuda.Card) error {
	path, known := trustFile()
	key, err := trustKey(card, cfg.Compute.Kernels)
	if err != nil {
		return err
	}
	if _, ok := known[key]; ok {
		return nil
	}
	began := time.Now()
	if err := testCard(cfg.Compute); err != nil {
		return advise(fmt.Errorf("test %s: %w", card.Name, err), "radish serve --device cpu; another card; radish doctor --kernels tests again")
	}
	term.Say("device: the kernels' self-test passed on %s in %.1f s; it is not repeated for this card and driver", card.Name, time.Since(began).Seconds())
	known[key] = began
	if err := writeTrust(path, known); err != nil {
		term.Say("device: the next start tests again: %v", err)
	}
	return nil
}

// testCard runs every operation of the GPU against the reference.
func testCard(c server.ComputeConfig) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b, err := cuda.New(cuda.Options{GPU: c.GPU, Act: kernels.BF16, Arch: c.Kernels, Gemm: "own"})
	if err != nil {
		return err
	}
	err = kerneltest.SelfTest(b, uint64(time.Now().UnixNano()))
	if err != nil && !errors.Is(err, cuda.ErrFault) && !errors.Is(err, cuda.ErrLost) && !errors.Is(err, cuda.ErrMemory) {
		err = fmt.Errorf("%w: %w", cuda.ErrWrong, err)
	}
	return errors.Join(err, b.Close())
}

// selfTestCheck is doctor's check that tests every visible card's kernels.
func selfTestCheck() doctor.Check {
	return doctor.Check{
		ID: "gpu.selftest", Family: "gpu", Title: "the GPU kernels compute what the reference does",
		DependsOn: []string{"gpu.kernels"}, Timeout: time.Minute, Run: selfTest,
	}
}

func selfTest(context.Context, *host.Facts) doctor.Finding {
	f := doctor.Finding{State: doctor.OK, Rule: "every operation of every visible card must agree with the reference, on fresh random inputs"}
	tested := 0
	for gpu := 0; ; gpu++ {
		card, _, _, err := cuda.Survey(gpu)
		if err != nil {
			if gpu == 0 {
				f.State, f.Summary = doctor.Unknown, err.Error()
			}
			break
		}
		began := time.Now()
		err = testCard(server.ComputeConfig{GPU: gpu, Kernels: os.Getenv(imageEnv)})
		value := fmt.Sprintf("passed in %.1f s", time.Since(began).Seconds())
		if err != nil {
			f.State, f.Summary, value = doctor.Fail, fmt.Sprintf("%s: %v", card.Name, err), err.Error()
		}
		tested++
		f.Evidence = append(f.Evidence, doctor.Evidence{Source: fmt.Sprintf("kernels on gpu %d, %s", gpu, card.Name), Value: value})
	}
	if f.State == doctor.OK {
		f.Summary = fmt.Sprintf("%d cards tested", tested)
	}
	return f
}

// trustKey names a card with a driver and a set of images.
func trustKey(card cuda.Card, forced string) (string, error) {
	m, err := image.ReadManifest()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("hash kernels: %w", err)
	}
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%s driver %d kernels %s%s", card.UUID, card.Driver, hex.EncodeToString(sum[:8]), forced), nil
}

// trustFile is where the cache lies, "" where there is no place for it, and what it holds.
func trustFile() (string, trusted) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", trusted{}
	}
	path, known := filepath.Join(dir, "radish", "gpu-selftest.json"), trusted{}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil || known == nil {
		return path, trusted{}
	}
	return path, known
}

func writeTrust(path string, known trusted) error {
	if path == "" {
		return fmt.Errorf("write self-test's result: no cache directory: %w", fs.ErrNotExist)
	}
	text, err := json.MarshalIndent(known, "", "\t")
	if err != nil {
		return fmt.Errorf("write self-test's result: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write self-test's result: %w", err)
	}
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(tmp, text, 0o644); err != nil {
		return fmt.Errorf("write self-test's result: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write self-test's result: %w", err)
	}
	return nil
}
