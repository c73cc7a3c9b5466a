package main

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

typedef void *program;
static int (*create)(program *, const char *, const char *, int, const char *const *, const char *const *);
static int (*compile)(program, int, const char *const *);
static int (*log_size)(program, size_t *), (*get_log)(program, char *);
static int (*cubin_size)(program, size_t *), (*get_cubin)(program, char *);
static int (*ptx_size)(program, size_t *), (*get_ptx)(program, char *);
static int (*destroy)(program *);

static const char *open_nvrtc(const char *path) {
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib) return dlerror();
#define FIND(p, name) if (!(*(void **)&p = dlsym(lib, name))) return name " is missing"
	FIND(create, "nvrtcCreateProgram");
	FIND(compile, "nvrtcCompileProgram");
	FIND(log_size, "nvrtcGetProgramLogSize");
	FIND(get_log, "nvrtcGetProgramLog");
	FIND(cubin_size, "nvrtcGetCUBINSize");
	FIND(get_cubin, "nvrtcGetCUBIN");
	FIND(ptx_size, "nvrtcGetPTXSize");
	FIND(get_ptx, "nvrtcGetPTX");
	FIND(destroy, "nvrtcDestroyProgram");
	return NULL;
}

static int do_create(program *p, const char *src, const char *name, int n, char **heads, char **names) {
	return create(p, src, name, n, (const char *const *)heads, (const char *const *)names);
}
static int do_compile(program p, int n, char **opts) { return compile(p, n, (const char *const *)opts); }
static int do_log_size(program p, size_t *n) { return log_size(p, n); }
static int do_log(program p, char *to) { return get_log(p, to); }
static int do_size(program p, size_t *n, int ptx) { return ptx ? ptx_size(p, n) : cubin_size(p, n); }
static int do_get(program p, char *to, int ptx) { return ptx ? get_ptx(p, to) : get_cubin(p, to); }
static void do_destroy(program p) { destroy(&p); }
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// openCompiler loads NVRTC.
func openCompiler(path string) error {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	if msg := C.open_nvrtc(p); msg != nil {
		return fmt.Errorf("load nvrtc: %s", C.GoString(msg))
	}
	return nil
}

// compile turns one source into a cubin, or into PTX where ptx is set, and returns the compiler's log beside it.
func compile(name, src string, headers map[string]string, options []string, ptx bool) (image []byte, log string, err error) {
	var keep []unsafe.Pointer
	defer func() {
		for _, p := range keep {
			C.free(p)
		}
	}()
	str := func(s string) *C.char {
		p := C.CString(s)
		keep = append(keep, unsafe.Pointer(p))
		return p
	}
	array := func(list []string) **C.char {
		mem := C.malloc(C.size_t(8 * (len(list) + 1)))
		keep = append(keep, mem)
		to := unsafe.Slice((**C.char)(mem), len(list)+1)
		for i, s := range list {
			to[i] = str(s)
		}
		return (**C.char)(mem)
	}
	var texts, names []string
	for n, t := range headers {
		names, texts = append(names, n), append(texts, t)
	}
	var p C.program
	if rc := C.do_create(&p, str(src), str(name), C.int(len(names)), array(texts), array(names)); rc != 0 {
		return nil, "", fmt.Errorf("create program %s: nvrtc error %d", name, rc)
	}
	defer C.do_destroy(p)
	rc := C.do_compile(p, C.int(len(options)), array(options))
	var n C.size_t
	C.do_log_size(p, &n)
	text := make([]byte, n+1)
	C.do_log(p, (*C.char)(unsafe.Pointer(&text[0])))
	log = string(text[:max(0, int(n)-1)])
	if rc != 0 {
		return nil, log, fmt.Errorf("compile %s: nvrtc error %d", name, rc)
	}
	kind := C.int(0)
	if ptx {
		kind = 1
	}
	C.do_size(p, &n, kind)
	image = make([]byte, n)
	if rc := C.do_get(p, (*C.char)(unsafe.Pointer(&image[0])), kind); rc != 0 || n == 0 {
		return nil, log, fmt.Errorf("read image of %s: nvrtc error %d", name, rc)
	}
	return image, log, nil
}
