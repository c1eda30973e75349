"""What an attacker or the world may do to an input beside moving it within a norm: corruptions, noise, rotations,
colours, one perturbation for all inputs. docs/other_threats.md lists them."""
