// Package jinja renders Hugging Face chat templates: the part of Jinja that they use, byte for byte as Python's jinja2
// 3.1.6 does in the environment that transformers makes for them (ImmutableSandboxedEnvironment with trim_blocks,
// lstrip_blocks, loop controls, json.dumps without ASCII escapes as tojson, raise_exception, strftime_now and the
// {% generation %} block).
//
// # Use
//
// Parse a template once, then render it from any number of goroutines. Chat renders a conversation with the variables
// that apply_chat_template gives a template; Template.Render takes any variables. Mappings that must keep the order of
// their keys are *Object; ParseJSON makes them.
//
// # Who wrote what
//
// An Output says which bytes came from the template's own literals or from a Trusted variable (bos_token). Only there
// may the spelling of a control token become one: a user who writes <|im_end|> has written ten characters. Every string
// carries these ranges through concatenation, slices, trim, split, join, replace, case, format and capture. What cannot
// keep them exactly gives them up: str() of a list, tojson, and a change of case that moves bytes in a mixed string all
// give untrusted text. Numbers print as untrusted text. Two texts that come to touch and were both the template's make
// one range.
//
// # The sandbox
//
// Templates reach the data that they are given and nothing of Go's. Data is never changed: append, update and their
// like are undefined values that fail when called, as is every name between double underscores. Limits bound steps,
// memory, output, depth of macros and time; range() is bounded at 100,000 as in jinja2. Going over one is an error that
// wraps ErrLimit. A template that calls raise_exception gives an Error with Raised set: its input is at fault, not it.
//
// # What is left out
//
// Inheritance (extends, block, include, import), recursive loops, autoescape, and the filters batch, slice, groupby,
// truncate, wordwrap, urlize, xmlattr, pprint, filesizeformat, striptags, urlencode and random: all are errors, at Parse
// where jinja2 would check them too. jinja2 works out constant expressions while it compiles, which makes a slice of a
// constant that has none, as in {{ (1)[:2] }}, undefined: here it is an error. Functions and macros print without their address; format() of a string marked
// safe is an error. Integers end at 4096 bits.
package jinja
