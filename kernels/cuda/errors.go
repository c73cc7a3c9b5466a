package cuda

import (
	"errors"
	"fmt"
	"runtime"

	"radish/kernels/cuda/driver"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNoGPU: there is no card that radish can compute on, or no driver for it.
	ErrNoGPU = errors.New("no usable NVIDIA GPU")
	// ErrMemory: the card has too little free memory.
	ErrMemory = errors.New("out of GPU memory")
	// ErrFault: the context is gone (a faulty kernel, say); a new process can use the card again.
	ErrFault = errors.New("GPU fault")
	// ErrLost: the card is gone or its memory is broken; a new process would fare no better.
	ErrLost = errors.New("GPU lost")
	// ErrWrong: the card computes something else than the reference; see SelfTest.
	ErrWrong = errors.New("GPU computes wrong results")
)

// named puts the sentinel that fits before a driver's error.
func named(err error) error {
	var e *driver.Error
	switch {
	case err == nil || !errors.As(err, &e):
		return err
	case e.Code == driver.CodeOutOfMemory:
		return fmt.Errorf("%w: %w", ErrMemory, err)
	case e.Broken():
		return fmt.Errorf("%w: %w", ErrLost, err)
	case e.Sticky():
		return fmt.Errorf("%w: %w", ErrFault, err)
	case e.Code == driver.CodeNoDevice:
		return fmt.Errorf("%w: %w", ErrNoGPU, err)
	}
	return err
}

// Survey looks at card number gpu of those visible: what it is, and its free and total memory in bytes. It creates the
// card's context, which New joins later. Errors: ErrNoGPU, with the reason.
func Survey(gpu int) (c Card, free, total int64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fail := func(err error) (Card, int64, int64, error) {
		if err = named(err); !errors.Is(err, ErrNoGPU) {
			err = fmt.Errorf("%w: %w", ErrNoGPU, err)
		}
		return Card{}, 0, 0, err
	}
	if err := driver.Load(); err != nil {
		return fail(err)
	}
	d, err := pick(gpu)
	if err != nil {
		return fail(err)
	}
	if c, err = inspect(d); err != nil {
		return fail(err)
	}
	if _, err := architectures(c, ""); err != nil {
		return fail(err)
	}
	ctx, err := d.Retain()
	if err != nil {
		return fail(err)
	}
	if err := ctx.Use(); err != nil {
		return fail(err)
	}
	if free, total, err = driver.MemInfo(); err != nil {
		return fail(err)
	}
	return c, free, total, nil
}
