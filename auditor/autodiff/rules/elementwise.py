"""Arithmetic with broadcasting. Un-broadcasting happens in the walk, so a rule may give the output's shape."""

from auditor.autodiff.rules import vjp


@vjp("Add", wrt=None)
def add(op, g, y, a, b, *, index):
    return g


@vjp("Sub", wrt=0)
def sub_a(op, g, y, a, b):
    return g


@vjp("Sub", wrt=1)
def sub_b(op, g, y, a, b):
    return op.Neg(g)


@vjp("Mul", wrt=0)
def mul_a(op, g, y, a, b):
    return op.Mul(g, b)


@vjp("Mul", wrt=1)
def mul_b(op, g, y, a, b):
    return op.Mul(g, a)
