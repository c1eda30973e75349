"""What an audit is about."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from auditor import __version__, runtime
from auditor.attacks.half import Half
from auditor.attacks.levels import Levels
from auditor.attacks.space import Space
from auditor.attacks.table import Table
from auditor.attacks.transformations import Served
from auditor.attacks.verify import Verifier
from auditor.attacks.votes import Voter
from auditor.audits.design import Design, design_of
from auditor.audits.presets import chosen_stages
from auditor.data.constrained import rules_of
from auditor.data.dataset import Dataset, digest_arrays
from auditor.errors import AuditorError
from auditor.graph.located import find_trees
from auditor.graph.plain import ClassifierGraph, make_plain
from auditor.graph.reading import Reading
from auditor.graph.saturation import unsaturated
from auditor.graph.trees import Trees
from auditor.graph.upload import Upload
from auditor.spec import AuditSpec, Normalisation, digest
from auditor.threats.catalogue import chosen_others
from auditor.threats.corruptions import image_libraries
from auditor.threats.threat import OtherThreat


@dataclass(frozen=True)
class Subject:
    """The upload and its name, the dataset in its layout, the whole specification, and the surrogates that it names."""

    name: str
    upload: Upload
    dataset: Dataset
    spec: AuditSpec
    surrogates: tuple[Upload, ...] = ()  # in the order of spec.surrogates, as their names are
    surrogate_names: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Digest of all that can change a bit of an example's result: what is asked, what will run, and on what."""
        trees = self.trees is not None
        known = {"label_only": self.upload.label_only, "random": self.upload.random, "trees": trees}
        chosen = [chosen_stages(self.spec, gradient=gradient, **known) for gradient in (True, False)]
        stages = [[stage.as_json() for stage in stages] for stages in chosen]
        circumstances = [__version__, runtime.fingerprint(self.spec.device)]
        dataset = [self.dataset.sha256, self.dataset.preprocessing["steps"]]
        what = [self.upload.sha256, dataset, self.spec.sha256, stages, circumstances]
        if self.spec.also:
            what.append([[threat.name, threat.settings] for threat in self.others] + [image_libraries()])
        if self.dataset.weight is not None or self.dataset.group is not None:
            what.append(digest_arrays(self.dataset.weight, self.dataset.group))
        return digest(what)

    def design(self, index: np.ndarray) -> Design:
        """How the examples at these positions stand for the population."""
        weight, group = (
            None if column is None else column[index] for column in (self.dataset.weight, self.dataset.group)
        )
        return design_of(weight, group, len(index))

    @cached_property
    def others(self) -> tuple[OtherThreat, ...]:
        """The threats beside the norms that are asked for."""
        left = max(self.dataset.size - self.spec.examples, 0)
        return chosen_others(self.spec, self.space, self.dataset.shape, left=left)

    @cached_property
    def space(self) -> Space:
        """Which inputs there are."""
        spec = self.spec
        if spec.tabular:
            return Table(rules_of(self.dataset, spec.constraints))
        if spec.quantize is not None:
            assert spec.domain is not None, "a specification with levels has a domain"
            return Levels(spec.domain, spec.quantize)
        if takes_half(self.upload, spec.normalisation):
            return Half(spec.domain)
        return Space(spec.domain)

    @property
    def reading(self) -> Reading:
        """How scores read as answers. None of them is a refusal where an attack has to reach one class, beside which
        refusals are like any other."""
        reading = self.upload.reading
        return reading if self.spec.target is None else replace(reading, refused=())

    @cached_property
    def served(self) -> Served:
        """What is done to inputs at random before the model. SpecError where it cannot be done to these."""
        return Served.of(self.spec.eot, self.dataset.shape, self.spec.layout, self.spec.domain)

    @property
    def drawn(self) -> bool:
        """Whether chance plays a part in an answer, in the model or before it, and is known."""
        return self.upload.random or bool(self.spec.eot)

    def verifier(self) -> Verifier:
        domain, normalisation = self.spec.domain, self.spec.normalisation
        if self.dataset.attacked is not None:  # what comes along keeps none; the space looks after the rest
            domain = None
        if self.drawn:
            return Voter(self.upload, domain=domain, normalisation=normalisation, served=self.served)
        return Verifier(self.upload, domain=domain, normalisation=normalisation)

    def plain_graph(self, batch: int) -> ClassifierGraph:
        """The plain graph for this dataset's examples, declared normalisation included, without an end that saturates."""
        normalisation = self.spec.normalisation
        graph = make_plain(self.upload, batch=batch, shape=self.dataset.shape, normalisation=normalisation)
        if not self.upload.multilabel:  # there it is no order of scores that decides
            graph = unsaturated(graph)
        return replace(graph, reading=self.reading, aimed=self.spec.target is not None)

    @cached_property
    def trees(self) -> Trees | None:
        """The model as one sum of trees, where it is one and each feature of an input can change by itself."""
        if not self.upload.has_trees or not self._separable or self.drawn:
            return None
        if self.upload.refused or self.upload.multilabel:
            return None
        if isinstance(self.space, Half):  # a threshold's neighbours in float32 are no inputs
            return None
        try:
            trees = find_trees(self.plain_graph(2))
        except AuditorError:  # the preparation says it better
            return None
        # Of other numbers than float32 the plain graph has rounded thresholds: good to attack, no ground for a proof.
        single = self.upload.input_type == "tensor(float)"
        return trees if single or trees is None else replace(trees, slack=float("inf"))

    @property
    def _separable(self) -> bool:
        return self.spec.constraints is None or self.spec.constraints.separable

    @property
    def trees_left_out(self) -> str:
        """Why attacks do not search the trees of a model that has some."""
        if self.trees is not None:
            return "the attacks that do were not chosen"
        if not self._separable:
            return "the constraints bind columns to each other, by a relation or a category"
        if self.drawn or self.upload.refused or self.upload.multilabel:
            return "the model draws at random, may refuse, or gives several labels at once"
        return "they are not all there is to the scores but a sum, or columns before them mix features"

    def weighing(self, weight: float) -> "Subject":
        """The same, what a detector gives above its threshold counting so many times where attacks see it."""
        return self if weight == self.upload.weight else replace(self, upload=replace(self.upload, weight=weight))

    def surrogate_graphs(self, batch: int) -> list[ClassifierGraph]:
        """The same of each surrogate, with its own normalisation."""
        shape = self.dataset.shape
        return [
            make_plain(upload, batch=batch, shape=shape, normalisation=named.normalisation)
            for upload, named in zip(self.surrogates, self.spec.surrogates, strict=True)
        ]


def takes_half(upload: Upload, normalisation: Normalisation | None) -> bool:
    """Whether the model takes the examples themselves in float16: what lies before a declared normalisation it never sees."""
    return upload.input_dtype == np.float16 and normalisation is None
