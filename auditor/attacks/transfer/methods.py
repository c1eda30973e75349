"""The transfer attacks by name, each with the parameters of its paper (see `iterative`, `views`, `smooth`, `blocks`)."""

from auditor.attacks.transfer.iterative import Method
from auditor.attacks.transfer.views import Admixed, Diverse, Scaled, Shuffled

METHODS: dict[str, Method] = {
    "mi-fgsm": Method(),
    "ni-fgsm": Method(look_ahead=True),
    "di-fgsm": Method(views=Diverse()),
    "ti-fgsm": Method(smooth=True),
    "si-fgsm": Method(views=Scaled()),
    "vmi-fgsm": Method(neighbours=20, radius=1.5),
    "vni-fgsm": Method(neighbours=20, radius=1.5, look_ahead=True),
    "admix": Method(views=Admixed()),
    "pgn": Method(pairs=20, radius=3.0),
    "bsr": Method(views=Shuffled()),
    "ila": Method(onwards=10),
}
