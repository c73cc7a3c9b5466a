package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
)

// Trusted is a string whose every byte counts as the template's own, such as bos_token.
type Trusted string

// Object is a mapping that keeps the order in which its keys were first set.
type Object struct {
	keys []string
	vals map[string]any
}

// Set gives key a value and returns o, for chains.
func (o *Object) Set(key string, v any) *Object {
	if o.vals == nil {
		o.vals = map[string]any{}
	}
	if _, ok := o.vals[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.vals[key] = v
	return o
}

// Get is the value of key.
func (o *Object) Get(key string) (any, bool) {
	v, ok := o.vals[key]
	return v, ok
}

// Keys are the keys in order; the caller must not change them.
func (o *Object) Keys() []string { return o.keys }

// maxJSONDepth bounds the nesting of data.
const maxJSONDepth = 100

// ParseJSON reads one JSON value as Python's json.loads does, with objects as *Object: key order kept, and of a key
// that comes twice the last value. Numbers stay json.Number.
func ParseJSON(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := parseValue(dec, 0)
	if err != nil {
		return nil, fmt.Errorf("parse json: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("parse json: more than one value")
	}
	return v, nil
}

// parseValue reads one value; depth is bounded, as a client writes it.
func parseValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("nested too deeply: %w", ErrLimit)
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		return parseObject(dec, depth)
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := parseValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	}
	return tok, nil
}

func parseObject(dec *json.Decoder, depth int) (any, error) {
	o := &Object{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		v, err := parseValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		o.Set(key.(string), v)
	}
	_, err := dec.Token()
	return o, err
}

// convert makes a value of the template's world out of one of Go's.
func (r *run) convert(v any, depth int) any {
	r.step(1)
	if depth > maxJSONDepth {
		r.limit("data is nested too deeply")
	}
	switch v := v.(type) {
	case nil, bool, int, float64:
		return v
	case int32:
		return int(v)
	case int64:
		return int(v)
	case float32:
		return float64(v)
	case *big.Int:
		return small(v)
	case json.Number:
		return r.jsonNumber(string(v))
	case string:
		return plain(v)
	case Trusted:
		return own(string(v))
	case []string:
		out := &list{}
		for _, s := range v {
			out.items = append(out.items, plain(s))
		}
		return out
	case []any:
		out := &list{items: make([]any, len(v))}
		for i, e := range v {
			out.items[i] = r.convert(e, depth+1)
		}
		return out
	case map[string]any:
		out := &dict{}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			out.set(plain(k), r.convert(v[k], depth+1))
		}
		return out
	case *Object:
		out := &dict{}
		for _, k := range v.keys {
			out.set(plain(k), r.convert(v.vals[k], depth+1))
		}
		return out
	}
	r.fail("a value of Go type %T cannot be given to a template", v)
	return nil
}

// jsonNumber reads a number as Python's json does: an int unless it has a fraction or an exponent.
func (r *run) jsonNumber(s string) any {
	if len(s) > maxBits/4 {
		r.limit("number is too long")
	}
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	if b, ok := new(big.Int).SetString(s, 10); ok {
		return b
	}
	f, _ := strconv.ParseFloat(s, 64) // out of range is infinite, as in Python
	return f
}
