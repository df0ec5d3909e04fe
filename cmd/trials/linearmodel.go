package main

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// What clients do to a customer.
const (
	opRead   = "GET"
	opRename = "PATCH"
	opClose  = "DELETE"
)

// act is what a client asked for.
type act struct {
	op      string
	name    string // with opRename: nobody asks for it twice
	ifMatch int64  // a version, or 0
}

// reply is what it was told.
type reply struct {
	status   int // 0: nothing that says whether it was done
	register     // with opRead; with opRename its version alone, if that is known
}

// register is a customer as far as this trial goes: nobody else changes it, and its
// version counts its changes. It is born with version 1.
type register struct {
	name    string
	version int64
	closed  bool
}

// oneCustomer is what a customer must be like whoever asks whichever replica: as if
// each act were done at one moment between question and answer. One that has no
// answer may be done at any moment after the question, or as good as never, which is
// after all the others.
func oneCustomer(born register) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return born },
		Step: func(state, asked, told any) (bool, any) {
			return step(state.(register), asked.(act), told.(reply)) //nolint:forcetypeassert // ours
		},
		DescribeOperation: func(asked, told any) string { return fmt.Sprintf("%+v: %+v", asked, told) },
	}
}

// step says whether an act on a customer in this state can have had this reply, and
// what the customer is after it.
func step(now register, a act, r reply) (bool, register) {
	status, next := 200, now
	switch {
	case a.op == opRead:
	case a.ifMatch != 0 && a.ifMatch != now.version:
		status = 412
	case a.op == opClose && now.closed:
	case a.op == opClose:
		next.closed, next.version = true, now.version+1
	case now.closed:
		status = 409
	default:
		next.name, next.version = a.name, now.version+1
	}
	switch {
	case r.status == 0:
		return true, next
	case a.op == opRead:
		return r.status == status && r.register == now, next
	}
	return r.status == status && (r.version == 0 || r.version == next.version), next
}
