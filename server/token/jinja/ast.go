package jinja

// expr is a node with a value.
type expr interface {
	eval(r *run, s *scope) any
}

// stmt is a node that writes or assigns.
type stmt interface {
	exec(r *run, s *scope) signal
}

// signal says how a statement ended.
type signal uint8

const (
	sigNone signal = iota
	sigBreak
	sigContinue
)

type (
	constExpr struct{ v any }
	nameExpr  struct {
		name string
		line int
	}
	listExpr struct {
		items []expr
		tuple bool
	}
	dictExpr struct {
		keys, vals []expr
		line       int
	}
	attrExpr struct {
		obj  expr
		name *text
		line int
	}
	itemExpr struct {
		obj, key expr
		line     int
	}
	sliceExpr struct {
		obj  expr
		part [3]expr // from, to, step; nil where absent
		line int
	}
	callExpr struct {
		fn   expr
		args argList
		line int
	}
	filterExpr struct {
		in   expr // nil: a block's text
		name string
		fn   filterFunc // nil: unknown
		args argList
		line int
	}
	testExpr struct {
		in   expr
		name string
		fn   testFunc
		args argList
		line int
	}
	binExpr struct {
		op   string
		l, r expr
		line int
	}
	logicExpr struct {
		l, r expr
		or   bool
	}
	notExpr  struct{ e expr }
	signExpr struct {
		e    expr
		neg  bool
		line int
	}
	concatExpr struct{ items []expr }
	cmpExpr    struct {
		first expr
		ops   []cmpOp
		line  int
	}
	condExpr struct {
		test, then, otherwise expr // otherwise may be nil
		line                  int
	}
)

type cmpOp struct {
	op string
	e  expr
}

// argList is a call's arguments as written.
type argList struct {
	pos            []expr
	kw             []kwExpr
	star, starstar expr
}

type kwExpr struct {
	name string
	e    expr
}

type (
	dataStmt  struct{ t *text }
	printStmt struct {
		items []expr
		line  int
	}
	ifStmt struct {
		branches  []branch
		otherwise []stmt
	}
	branch struct {
		test expr
		body []stmt
		line int
	}
	forStmt struct {
		targets         *target
		iter, test      expr
		body, otherwise []stmt
		line            int
	}
	// setStmt assigns value, or the text of body, to targets or to an attribute of the namespace ns.
	setStmt struct {
		targets *target
		ns      *nameExpr
		attr    string
		value   expr
		filter  *filterExpr
		body    []stmt
		line    int
	}
	scopeStmt struct {
		targets []*target
		values  []expr
		body    []stmt
	}
	filterStmt struct {
		f    *filterExpr
		body []stmt
		line int
	}
	macroStmt struct{ def *macroDef }
	callStmt  struct {
		call *callExpr
		body *macroDef
		line int
	}
	jumpStmt struct{ sig signal }
)

// target is a name, or a tuple of targets.
type target struct {
	name  string
	parts []*target
}

// macroDef is a macro as written; the last len(defaults) params have defaults.
type macroDef struct {
	name                    string
	params                  []string
	defaults                []expr
	body                    []stmt
	varargs, kwargs, caller bool
}
