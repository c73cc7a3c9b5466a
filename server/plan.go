package server

import (
	"fmt"
	"io/fs"

	"radish/kernels"
	"radish/server/model"
	"radish/server/weights"
)

// Plan is what serving will take, known before anything is allocated.
type Plan struct {
	Spec    *model.Spec
	Act     kernels.DType
	Context int // tokens of one request, prompt and output
	Pages   int
	PageSize,
	MaxRunning,
	Chunk int
	logits int // rows whose logits exist at one time; 0: the model's default

	Weights   int64 // bytes
	KV        int64
	Workspace int64
	PerToken  int64 // bytes of KV
	Available int64
	Budget    int64    // what weights and KV may take of Available
	Notes     []string // choices that the user may not expect

	config *weights.Config
	files  fs.FS
	closer func() error
}

// Tokens is the size of the KV pool.
func (p *Plan) Tokens() int { return p.Pages * p.PageSize }

// Total is everything that serving reserves, in bytes.
func (p *Plan) Total() int64 { return p.Weights + p.KV + p.Workspace }

// MakePlan reads the model's config.json and sizes everything. Errors: ErrDoesNotFit (with the largest setting that
// would fit), ErrConfig, model.ErrUnsupported, and those of weights.ReadConfig.
func MakePlan(cfg Config) (*Plan, error) {
	p := &Plan{Act: kernels.BF16, Available: cfg.Memory.Available}
	if cfg.Model.Float32 {
		p.Act = kernels.F32
	}
	if err := p.open(cfg.Model); err != nil {
		return nil, err
	}
	err := p.read(cfg)
	if err == nil {
		err = p.size(cfg)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close gives the model's directory back when the plan is not used.
func (p *Plan) Close() error {
	if p.closer == nil {
		return nil
	}
	return p.closer()
}

func (p *Plan) open(m ModelConfig) error {
	if m.Files != nil {
		p.files = m.Files
		return nil
	}
	dir, err := weights.OpenDir(m.Path)
	if err != nil {
		return err
	}
	p.files, p.closer = dir, dir.Close
	return nil
}

func (p *Plan) read(cfg Config) (err error) {
	if p.config, err = weights.ReadConfig(p.files); err != nil {
		return err
	}
	if p.Spec, err = model.New(p.config); err != nil {
		return err
	}
	return checkSched(cfg.Sched)
}

func checkSched(s SchedConfig) error {
	bounds := []struct {
		name    string
		v, min_ int
	}{
		{"max-total-tokens", s.MaxTotalTokens, 0}, {"max-running-requests", s.MaxRunning, 0},
		{"max-queued-requests", s.MaxQueued, 0}, {"max-prefill-tokens", s.MaxPrefillTokens, 0},
		{"page-size", s.PageSize, 0}, {"chunked-prefill-size", s.ChunkedPrefill, -1},
	}
	for _, b := range bounds {
		if b.v < b.min_ {
			return fmt.Errorf("%w: %s is %d, below %d", ErrConfig, b.name, b.v, b.min_)
		}
	}
	if s.PageSize > maxPageSize {
		return fmt.Errorf("%w: page-size is %d, above %d", ErrConfig, s.PageSize, maxPageSize)
	}
	if s.MemFraction < 0 || s.MemFraction > 1 {
		return fmt.Errorf("%w: mem-fraction-static is %v, not in (0,1]", ErrConfig, s.MemFraction)
	}
	return nil
}

// size divides the memory: weights first, then the workspace of a step, and the KV pool takes what is left of the
// budget, up to what the running requests can use.
func (p *Plan) size(cfg Config) error {
	s, d := cfg.Sched, cfg.Compute.sizes()
	p.PageSize = orDefault(s.PageSize, defaultPageSize)
	p.MaxRunning = orDefault(s.MaxRunning, d.running)
	wanted, err := p.wantedContext(cfg.Model.ContextLength)
	if err != nil {
		return err
	}
	p.Chunk, p.logits = orDefault(s.ChunkedPrefill, d.chunk), d.logits
	if p.Chunk < 0 || p.Chunk > wanted {
		p.Chunk = min(wanted, orDefault(s.MaxPrefillTokens, defaultPrefill))
	}
	need := p.Spec.Plan(p.Act, model.Room{Rows: p.Chunk + p.MaxRunning, Logits: p.logits})
	p.Weights, p.Workspace, p.PerToken = need.Weights, need.Workspace, need.KVPerToken
	p.Budget = int64(float64(p.Available) * orDefault(s.MemFraction, d.fraction))
	return p.sizePool(cfg, wanted)
}

func (p *Plan) wantedContext(asked int) (int, error) {
	own := p.Spec.MaxPositions
	switch {
	case asked < 0:
		return 0, fmt.Errorf("%w: context-length is %d", ErrConfig, asked)
	case asked == 0 && own == 0:
		return 0, fmt.Errorf("%w: config.json does not say max_position_embeddings and no context-length is given", ErrConfig)
	case own > 0 && asked > own:
		return 0, fmt.Errorf("%w: context-length %d is longer than the model's own %d", ErrConfig, asked, own)
	}
	return orDefault(asked, own), nil
}

func (p *Plan) sizePool(cfg Config, context int) error {
	left := p.Budget - p.Weights - p.Workspace
	perPage := p.PerToken * int64(p.PageSize)
	fit := int(max(left, 0) / perPage)
	pages := min(fit, p.usefulPages(context))
	if t := cfg.Sched.MaxTotalTokens; t > 0 {
		if pages = t / p.PageSize; pages > fit {
			return p.tooMuch(fmt.Sprintf("max-total-tokens %d", t), "max-total-tokens", fit)
		}
	}
	if pages < 1 || fit < 1 {
		return p.tooMuch("the model", "", fit)
	}
	p.Pages, p.Context = pages, context
	if most := pages*p.PageSize - p.PageSize; context > most {
		if cfg.Model.ContextLength > 0 {
			return p.tooMuch(fmt.Sprintf("context-length %d", context), "context-length", pages-1)
		}
		p.Context = max(most, p.PageSize)
		p.Notes = append(p.Notes, fmt.Sprintf("context-length is %d instead of the model's %d: that is what the KV pool holds",
			p.Context, context))
	}
	p.MaxRunning = min(p.MaxRunning, pages)
	p.KV = int64(pages) * perPage
	return nil
}

// usefulPages is what MaxRunning requests of the whole context could fill, and as much again for cached prefixes.
func (p *Plan) usefulPages(context int) int {
	perSeq := context/p.PageSize + 2
	return 2 * p.MaxRunning * perSeq
}

func (p *Plan) tooMuch(what, setting string, fitPages int) error {
	need := p.Weights + p.Workspace
	have := fmt.Sprintf("weights %s and workspace %s leave room for %d KV tokens in %s (mem-fraction-static of %s available)",
		gib(p.Weights), gib(p.Workspace), fitPages*p.PageSize, gib(p.Budget), gib(p.Available))
	if fitPages < 1 {
		return fmt.Errorf("%w: %s needs at least %s; %s", ErrDoesNotFit, what, gib(need+p.PerToken*int64(2*p.PageSize)), have)
	}
	return fmt.Errorf("%w: %s; %s; the largest %s is %d", ErrDoesNotFit, what, have, setting, fitPages*p.PageSize)
}

func gib(n int64) string { return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30)) }
