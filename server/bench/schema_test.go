package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	emit "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write schema/*.json anew")

// schemas are the published descriptions and what they describe.
var schemas = []struct {
	file string
	of   any
}{
	{"schema/result.json", &Result{}}, {"schema/request.json", &Request{}},
	{"schema/radix.json", &RadixResult{}}, {"schema/advice.json", &Advice{}},
}

// TestSchemaFiles keeps the published schemas true to the types. go test ./server/bench -run SchemaFiles -update
func TestSchemaFiles(t *testing.T) {
	for _, s := range schemas {
		want := describe(t, s.of)
		if *update {
			if err := os.WriteFile(s.file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(s.file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the types are: run with -update, and raise Schema if a field went or changed its meaning", s.file)
		}
	}
}

// describe emits the schema of v's type, with the comments as descriptions. Fields may be added, so none is forbidden; a
// pointer, a slice and a map may be null.
func describe(t *testing.T, v any) []byte {
	t.Helper()
	r := &emit.Reflector{AllowAdditionalProperties: true}
	if err := r.AddGoComments("radish/server/bench", "./", emit.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	r.KeyNamer = func(s string) string { return s }
	schema := r.Reflect(v)
	for name, def := range schema.Definitions {
		nullable(def, typeNamed(reflect.TypeOf(v), name))
	}
	b, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// typeNamed finds a struct by name among the types that t is made of.
func typeNamed(t reflect.Type, name string) reflect.Type {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return typeNamed(t.Elem(), name)
	case reflect.Struct:
		if t.Name() == name {
			return t
		}
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() {
				if found := typeNamed(f.Type, name); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

func nullable(def *emit.Schema, t reflect.Type) {
	if t == nil || t.Kind() != reflect.Struct {
		return
	}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p, ok := def.Properties.Get(name)
		if !ok || (f.Type.Kind() != reflect.Pointer && f.Type.Kind() != reflect.Slice) {
			continue
		}
		described := p.Description
		p.Description = ""
		def.Properties.Set(name, &emit.Schema{AnyOf: []*emit.Schema{p, {Type: "null"}}, Description: described})
	}
}

// validate judges b by a published schema, with another implementation than the one that wrote it.
func validate(t *testing.T, file string, b []byte) error {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

func TestResultKeepsItsSchema(t *testing.T) {
	var raw []byte
	o := Options{Users: []int{1, 2}, Requests: 30, Repeats: 2}
	o.Hooks.Observe = func(r Request) {
		if raw == nil {
			raw, _ = json.Marshal(r)
		}
	}
	_, res := measure(t, &fake{}, o)
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, "schema/result.json", b); err != nil {
		t.Error(err)
	}
	if err := validate(t, "schema/request.json", raw); err != nil {
		t.Error(err)
	}
	if validate(t, "schema/result.json", bytes.Replace(b, []byte(`"schema":1`), []byte(`"schema":"one"`), 1)) == nil {
		t.Error("the schema takes anything")
	}
}
