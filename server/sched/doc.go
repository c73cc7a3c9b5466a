// Package sched decides which sequences run in the next step.
package sched
