package radix

import (
	"slices"
	"strings"
	"testing"

	"radish/server/seq"
)

func count(from, n int) []seq.Token {
	tokens := make([]seq.Token, n)
	for i := range tokens {
		tokens[i] = seq.Token(from + i)
	}
	return tokens
}

// TestConversation follows one chat over two turns, and a stranger who parts from it inside a page.
func TestConversation(t *testing.T) {
	tree := New(Options{PageSize: 4})
	_, dup := tree.Insert("", count(0, 6), []seq.Page{0, 1}, nil) // the second page holds tokens 4 and 5
	if len(dup) != 0 {
		t.Fatalf("duplicates %v in an empty tree", dup)
	}
	m, pages := tree.Match("", count(0, 11), nil)
	if !slices.Equal(pages, []seq.Page{0}) || m.Tokens != 6 || m.Partial != 1 || m.PartialTokens != 2 {
		t.Fatalf("second turn: %v, %+v", pages, m)
	}
	// The second turn copied page 1 to page 2 and wrote on: page 1 is superseded.
	_, dup = tree.Insert("", count(0, 11), []seq.Page{0, 2, 3}, nil)
	if !slices.Equal(dup, []seq.Page{1}) {
		t.Fatalf("freed %v, want the superseded page 1", dup)
	}
	stranger := append(count(0, 7), 99, 98)
	m, pages = tree.Match("", stranger, nil)
	if !slices.Equal(pages, []seq.Page{0}) || m.Partial != 2 || m.PartialTokens != 3 || m.Tokens != 7 {
		t.Fatalf("stranger: %v, %+v", pages, m)
	}
	if m, pages = tree.Match("elsewhere", stranger, nil); m.Tokens != 0 || len(pages) != 0 {
		t.Fatalf("another domain sees %v, %+v", pages, m)
	}
	if err := tree.Check(); err != nil {
		t.Fatal(err)
	}
}

// TestParentKeepsItsOwnAge: a prefix that was used on its own outlives leaves that are newer than its last child.
func TestParentKeepsItsOwnAge(t *testing.T) {
	tree := New(Options{PageSize: 1})
	tree.Insert("", []seq.Token{1, 2}, []seq.Page{1, 2}, nil)
	tree.Insert("", []seq.Token{5}, []seq.Page{5}, nil)
	tree.Match("", []seq.Token{1, 7}, nil)
	if freed := tree.Evict(3, nil); !slices.Equal(freed, []seq.Page{2, 5, 1}) {
		t.Errorf("evicted %v, want the child, the leaf and only then the prefix", freed)
	}
}

func TestMisusePanics(t *testing.T) {
	for name, misuse := range map[string]func(*Tree, Ref){
		"page size 0":         func(*Tree, Ref) { New(Options{}) },
		"too few pages":       func(t *Tree, _ Ref) { t.Insert("", count(9, 5), []seq.Page{8}, nil) },
		"a page twice":        func(t *Tree, _ Ref) { t.Insert("", count(9, 8), []seq.Page{8, 8}, nil) },
		"a page in two paths": func(t *Tree, _ Ref) { t.Insert("", count(9, 4), []seq.Page{0}, nil) },
		"a short page moved":  func(t *Tree, _ Ref) { t.Insert("", count(9, 4), []seq.Page{1}, nil) },
		"unlock":              func(t *Tree, n Ref) { t.Unlock(n) },
		"lock after eviction": func(t *Tree, n Ref) { t.Lock(t.lockless(n)) },
	} {
		t.Run(name, func(t *testing.T) {
			tree := New(Options{PageSize: 4})
			n, _ := tree.Insert("", count(0, 6), []seq.Page{0, 1}, nil)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse(tree, n)
		})
	}
}

// lockless evicts everything and returns n, which is gone then.
func (t *Tree) lockless(n Ref) Ref {
	t.Reset(nil)
	return n
}

// TestCheckFindsFaults damages a good tree in one place after another.
func TestCheckFindsFaults(t *testing.T) {
	for _, c := range []struct {
		want   string
		damage func(t *Tree, leaf Ref)
	}{
		{"recency list", func(t *Tree, n Ref) { t.unlist(n) }},
		{"was used after its parent", func(t *Tree, n Ref) { t.unlist(n); t.list(n, None) }},
		{"pages unlocked", func(t *Tree, n Ref) { t.unlocked++ }},
		{"held", func(t *Tree, n Ref) { t.leaves[40] = leaf{held: true} }},
		{"lost its links", func(t *Tree, n Ref) { t.leaves[t.nodes[n].tail].prev = 7 }},
		{"wrong side", func(t *Tree, n Ref) { k := &t.forks[1].kid; k[0], k[1] = k[1], k[0] }},
		{"locked children", func(t *Tree, n Ref) { t.nodes[t.nodes[n].parent].busy++; t.unlist(t.nodes[n].parent) }},
		{"spare", func(t *Tree, n Ref) { t.newNode(None) }},
		{"idle", func(t *Tree, n Ref) { t.newFork() }},
		{"is empty", func(t *Tree, n Ref) { t.root("nobody") }},
		{"tokens in the last", func(t *Tree, n Ref) { t.nodes[n].fill = 5 }},
	} {
		tree := New(Options{PageSize: 4, Pages: 41})
		tree.Insert("", count(0, 12), []seq.Page{0, 1, 2}, nil)
		leaf, _ := tree.Insert("", append(count(0, 4), count(100, 8)...), []seq.Page{0, 3, 4}, nil)
		if err := tree.Check(); err != nil {
			t.Fatal(err)
		}
		c.damage(tree, leaf)
		if err := tree.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check says %v, want %q", err, c.want)
		}
	}
}
