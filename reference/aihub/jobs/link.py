"""Link jobs: several DLCs to one context binary with a graph for each."""

from dataclasses import replace

from reference.aihub.artifacts import Graph, recall, remember
from reference.aihub.jobs.bench import Bench, metadata
from reference.aihub.options import link_options
from reference.aihub.tasks import LinkTask, Model, ModelKind, Result, TaskError
from reference.npu.link import link_models


def link_job(task: LinkTask, bench: Bench) -> Result:
    """The context binary of `task`; raises TaskError where it cannot be made."""
    graphs = [_graph(model, index) for index, model in enumerate(task.models)]
    names = [graph.name for graph in graphs]
    if len({*names}) < len(names):
        raise TaskError(f"the graphs must have different names: {', '.join(names)}")
    target = Model(bench.folder / "model.bin", ModelKind.QNN_CONTEXT_BINARY)
    sources = [graph.source for graph in graphs]
    options = link_options(task.options)
    inner = link_models(
        sources,
        task.device,
        target.path,
        tuning=options.tuning,
        limits=bench.limits,
        tick=bench.tick,
    )
    remember(
        target.path,
        [replace(graph, inner=name) for graph, name in zip(graphs, inner, strict=True)],
    )
    called = (f"{name!r} is {other!r}" for name, other in zip(names, inner, strict=True))
    inputs, outputs = (
        tuple(replace(spec, graph=graph.name) for graph in graphs for spec in getattr(graph, side))
        for side in ("inputs", "outputs")
    )
    return Result(
        target,
        inputs,
        outputs,
        metadata(target.kind, task.device, names, options.tuning),
        notices=(f"in the binary, graph {', '.join(called)}", *options.notices),
    )


def _graph(model: Model, index: int) -> Graph:
    if model.kind is not ModelKind.QNN_DLC:
        raise TaskError("only QNN DLCs can be linked: compile with --target_runtime qnn_dlc")
    found = recall(model.path)
    if not found:
        raise TaskError("the local AI Hub links only DLCs that it compiled itself")
    return replace(found[0], name=found[0].name or f"graph_{index}")
