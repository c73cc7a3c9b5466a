package jinja

import "math"

// dict keeps its keys in the order they were first set.
type dict struct {
	keys, vals []any
	index      map[any]int // places of keys by plainKey, once there are many
}

const (
	indexFrom = 9
	maxTuples = 4096 // entries of a dict that is looked up by tuples, which have no index
)

// plainKey is a key as Go can compare it: equal for keys that are equal in Python. Tuples have none.
func plainKey(key any) (any, bool) {
	switch k := key.(type) {
	case *text:
		return k.s, true
	case nil:
		return nil, true
	case bool, int:
		n, _ := number(k)
		return n, true
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<53 {
			return int(k), true
		}
		return k, true
	}
	return nil, false
}

func (d *dict) find(key any) int {
	plain, ok := plainKey(key)
	if ok && d.index != nil {
		if i, ok := d.index[plain]; ok {
			return i
		}
		return -1
	}
	if len(d.keys) > maxTuples {
		tooMuch("too many keys to look up by a tuple")
	}
	for i, k := range d.keys {
		if t, ok := k.(*text); ok && plain != nil {
			if plain == any(t.s) {
				return i
			}
		} else if equal(k, key) {
			return i
		}
	}
	return -1
}

func (d *dict) get(name string) (any, bool) {
	i := d.find(&text{s: name})
	if i < 0 {
		return nil, false
	}
	return d.vals[i], true
}

func (d *dict) set(key, val any) {
	if i := d.find(key); i >= 0 {
		d.vals[i] = val
		return
	}
	d.keys = append(d.keys, key)
	d.vals = append(d.vals, val)
	if len(d.keys) == indexFrom {
		d.index = map[any]int{}
		for i, k := range d.keys {
			d.note(k, i)
		}
	} else if d.index != nil {
		d.note(key, len(d.keys)-1)
	}
}

func (d *dict) note(key any, i int) {
	if k, ok := plainKey(key); ok {
		d.index[k] = i
	}
}
