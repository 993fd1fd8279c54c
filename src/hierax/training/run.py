"""The one loop that joins problem, levels, solver and cycle."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from hierax._results import RESULTS
from hierax.checks.guards import verdict
from hierax.clock import compile_seconds
from hierax.cycles import Action, Ascend, Descend, Done, Grow, NestedIteration, Outcome, Pace, Visit
from hierax.events import Decision, LevelFinished, LevelStarted, RunFinished, RunStarted, StepTaken, Subscriber, Teller
from hierax.fields import linear_in_parameters, parameter_count
from hierax.hierarchy import Level
from hierax.objective.corrected import CorrectedObjective
from hierax.planning.plan import Plan, named
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.results.solution import Accuracy, Solution
from hierax.training.continuation import EASIER, Stages
from hierax.training.corrections import Ladder, Stepped
from hierax.training.discrete import Bench, Patience, Prepared, Visited, refuse_32_bit
from hierax.training.moving_knots import moved
from hierax.training.refinement import LABEL, Obstacle, growth, precision_reached, settled, wants_slabs
from hierax.training.selection import chosen, guarded, last_level, place_of
from hierax.training.time_slabs import March


@dataclass
class Run:
    """One training: what was decided, what was done; `led` are the visits with easier problems of a continuation."""

    problem: Problem
    plan: Plan
    stages: Stages
    key: Key
    budget: float
    emit: Teller
    began: float
    compiled: float
    levels: list[Level]
    transfers: list[Any]
    visited: dict[int, Visited] = field(default_factory=dict)
    led: list[tuple[int, Visited]] = field(default_factory=list)
    changes: dict[int, float] = field(default_factory=dict)
    history: list[StepTaken] = field(default_factory=list)
    failure: RESULTS | None = None
    current: int = 0
    ladder: Ladder | None = None

    @classmethod
    def start(
        cls,
        problem: Problem,
        plan: Plan,
        root: Key,
        budget: float,
        subscribers: tuple[Subscriber, ...],
        began: tuple[float, float],
    ) -> Run:
        refuse_32_bit(plan)
        sampler = seed_of(root, 1)
        run = cls(
            problem, plan, Stages.of(problem, plan, sampler), sampler, budget, Teller(subscribers), *began,
            list(plan.hierarchy.levels), list(plan.hierarchy.transfers),
        )  # fmt: skip
        if plan.cycle.corrects:
            told = run._carried, lambda level: run.levels[level].points
            run.ladder = Ladder(run.bench, plan.cycle, run.transfers, run.visited, *told)  # pyright: ignore
        run.emit(RunStarted(problem.name, plan.text, budget))
        return run

    @property
    def bench(self) -> Bench:
        """That of the problem that is asked for."""
        return self.stages.target

    @property
    def known(self) -> dict[int, Visited]:
        """What was trained last on each level, with this problem or an easier one."""
        return {**dict(self.led), **self.visited}

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    def walk(self) -> str:
        """Follow the cycle to its end, and a continuation to its last problem; returns what stopped it."""
        reason = self._walk()
        if self.failure is None and not self.visited and self.elapsed <= self.budget:
            self.stages = replace(self.stages, first=self.current)
            self._visit(Visit(self.current))
        if self.failure is None and not self.visited:
            self.emit(Decision("The budget ended before the last problem of the continuation was trained."))
            self.failure = RESULTS.guard_levels
        return reason

    def _walk(self) -> str:
        cycle = self.plan.cycle
        state, action = cycle.next(cycle.init(len(self.levels)), None)
        while not isinstance(action, Done):
            outcome = self._act(action)
            if self.failure is not None:
                return "stalled"
            if self.elapsed > self.budget:
                self.emit(Decision(f"The budget of {self.budget:g} s is spent."))
                return "budget"
            state, action = cycle.next(state, outcome)
            if isinstance(action, Done) and outcome.forecast is not None:
                self.emit(Decision(f"The next level would {outcome.forecast}: stopped."))
            if isinstance(action, Grow) and outcome.obstacle is not None:
                action = Done(outcome.obstacle)
            if isinstance(action, Grow) and (why := wants_slabs(self.bench, outcome.level, self.changes, self.visited)):
                return self._march(why)
        return action.reason

    def _act(self, action: Action) -> Outcome:
        if self.ladder is not None and isinstance(action, Descend | Ascend):
            return self._outcome(*self.ladder.move(action))
        return self._visit(action) if isinstance(action, Visit) else self._grow()

    def _outcome(self, level: int, value: float) -> Outcome:
        """What a visit or a way up has led to; corrected problems are a means only, and nothing is concluded."""
        if self.ladder is not None and self.ladder.corrected(level):
            return Outcome(level, len(self.levels), value=value)
        self._note_change(level)
        return Outcome(level, len(self.levels), True, self.changes.get(level), self._obstacle(level), value)

    def _march(self, why: str) -> str:
        """Sweep over time slabs, each sweep a level; returns what stopped it."""
        self.plan = replace(self.plan, label=LABEL, reasons=(*self.plan.reasons, why))
        self.emit(Decision(why))
        march = March(self.bench, self.plan, lambda: self.budget - self.elapsed, self._note_slab)
        start, compiled = time.perf_counter(), compile_seconds()
        for sweep in march.sweeps():
            level = self.current = max(self.visited) + 1
            self.visited[level] = Visited(
                sweep.field, None, sweep.total("loss"), int(sweep.total("steps")), int(sweep.total("points")),
                time.perf_counter() - start, compile_seconds() - compiled, sweep.total("work"), None,
                march.samples(sweep),
            )  # fmt: skip
            self.emit(LevelFinished(self.visited[level].record(level), self.visited[level].field))
            self._note_change(level)
            if precision_reached(level, self.changes):
                return "converged"
            if isinstance(self.plan.cycle, NestedIteration) and len(self.visited) == self.plan.cycle.most:
                return "levels"
            start, compiled = time.perf_counter(), compile_seconds()
        self.emit(Decision(march.ended))
        if self.current not in self.visited or self.visited[self.current].samples is None:
            # the levels before looked unsettled: without a sweep nothing confirms them
            self.failure = RESULTS.guard_levels
        return march.reason

    def _note_slab(self, count: int, loss: float) -> None:
        self._note(StepTaken(max(self.visited) + 1, count, loss, np.inf, self.elapsed))

    def _note(self, taken: StepTaken, view: Prepared | None = None, sentence: str = "") -> None:
        """Keep a step and tell of it, and of what was decided with it."""
        self.history.append(taken)
        self.emit(taken, view)
        if sentence:
            self.emit(Decision(f"Level {taken.level}, step {taken.step}: {sentence}"))

    def _visit(self, visit: Visit) -> Outcome:
        """Train a level, before that with the easier problems that are its part of a continuation."""
        level = self.current = visit.level
        while len(self.led) < min(self.stages.last(level) + 1, len(self.stages.benches) - 1):
            visited = self._train(Visit(level, EASIER), len(self.led))
            self.led.append((level, self.stages.handed_on(len(self.led), visited)))
            self.emit(LevelFinished(self.led[-1][1].record(level), self.led[-1][1].field))
            if self.failure is not None or self.elapsed > self.budget:
                return Outcome(level, len(self.levels))
        if level < self.stages.first:
            return Outcome(level, len(self.levels))
        visited = self._train(visit, -1)
        if self.failure is None and self.ladder is None:
            visited = moved(self.bench, visited, lambda start: self._train(visit, -1, start), self._may_move)
            self.failure = None  # moves that failed were taken back
        self.visited[level] = visited
        if self.ladder is None:  # with a ladder each level is told about once, at the end
            self.emit(LevelFinished(visited.record(level), visited.field))
        return replace(self._outcome(level, visited.loss), pace=visited.pace)

    def _train(self, visit: Visit, number: int, start: Prepared | None = None) -> Visited:
        """Train a level with one problem; a ladder, which knows the last problem only, takes the result of that."""
        level, bench, own = visit.level, self.stages.benches[number], self.levels[visit.level].points
        began, compiled = time.perf_counter(), compile_seconds()
        ladder = self.ladder if bench is self.bench else None
        trained = start or (ladder.prepared(level) if ladder else bench.prepare(self._carried(level), points=own))
        points = sum(s.count for s in trained.objective.samples)
        self.emit(LevelStarted(level, len(trained.theta), points))
        done, unit = self._steps(visit, trained, bench), trained.objective.work
        field_ = trained.build(done.theta)
        visited = Visited(
            field_, done.state, float(done.value), done.steps, points, time.perf_counter() - began,
            compile_seconds() - compiled, done.steps * unit, bench.validation_error(field_),
            note=self.stages.notes[number], pace=Pace(done.steps * unit, done.brought / unit, done.promise),
        )  # fmt: skip
        return visited if ladder is None else ladder.visit(level, done.theta, visited)

    def _steps(self, visit: Visit, trained: Prepared, bench: Bench) -> Stepped:
        """Step until the solver, the cycle, the budget or the data kept back say that it is enough."""
        solver, objective, theta = self.plan.solver, trained.objective, trained.theta
        state = bench.initial_state(solver.init(objective, theta), trained, visit.level, self.known, self.transfers)
        value, steps, best, corrected = np.inf, 0, Patience(), isinstance(objective, CorrectedObjective)
        while True:
            step = solver.step(objective, theta, state)
            theta, state, steps = step.theta, step.state, steps + 1
            if step.failure is not None:
                if not corrected:
                    self._fail(step.failure, visit.level, steps, objective, theta)
                return Stepped(theta, state, step.value, steps)
            stalled = visit.until.reached(steps, step.decrease, value, step.value)
            brought, value = (value - step.value) / max(abs(step.value), 1e-300), step.value
            sentence = step.note or (visit.until.sentence(steps, brought) if stalled and not step.done else "")
            inner = step.iterations, step.condition
            taken = StepTaken(visit.level, steps, value, step.decrease, self.elapsed, *inner)
            self._note(taken, replace(trained, theta=theta), sentence)
            if not corrected and bench.watched(objective):
                best = best.see(bench.validation_error(trained.build(theta)), theta)
            if step.done or stalled or best.exhausted or self.elapsed > self.budget:
                kept = theta if best.theta is None else best.theta
                return Stepped(kept, state, value, steps, brought, 0.0 if best.exhausted else step.decrease)

    def _carried(self, level: int) -> Any:
        """The field a visit starts from: its own on a revisit, else the prolonged coarser one, else the initial one."""
        known = self.known
        if level in known:
            return known[level].field
        if level - 1 in known and level - 1 < len(self.transfers):
            coarse, fine = known[level - 1].field, self.levels[level].field
            return self.bench.prolonged(self.transfers[level - 1], coarse, fine)
        return self.levels[level].field

    def _note_change(self, level: int) -> None:
        # a coarse problem that was only ever corrected says nothing about refinement: it has seen the finer level
        if level - 1 in self.visited and (self.ladder is None or self.ladder.solved(level - 1)):
            self.changes[level] = self.bench.change(self.visited[level].field, self.visited[level - 1].field)

    def _obstacle(self, level: int) -> str | None:
        """Why there can be no finer level now."""
        return self._said(settled(self.bench, level, self.visited, self.changes, self.levels[level].points))

    def _may_move(self, sentence: str) -> bool:
        self.emit(Decision(sentence))
        return self.failure is None and self.elapsed <= self.budget

    def _said(self, obstacle: Obstacle | None) -> str | None:
        """The reason for the cycle, the sentence for those who watch."""
        if obstacle is not None and obstacle.sentence:
            self.emit(Decision(obstacle.sentence))
        return obstacle and obstacle.reason

    def _grow(self) -> Outcome:
        """Make a finer level where size and time allow; otherwise the outcome says why not."""
        last = len(self.levels) - 1
        done, own = self.known[last], jax.random.key(seed_of(self.key, 100 + last))
        coarse = Level(done.field, self.levels[last].points)
        found = growth(self.bench, coarse, done, self.changes, own, self.budget - self.elapsed)
        obstacle = self._said(found.obstacle)
        if obstacle is not None:
            return Outcome(last, len(self.levels), False, obstacle=obstacle)
        self.levels.append(found.finer)
        self.transfers.append(found.transfer)
        return Outcome(last + 1, len(self.levels), False, forecast=found.promise)

    def _fail(self, failure: RESULTS, level: int, step: int, objective: Any, theta: np.ndarray) -> None:
        self.failure = failure
        self.emit(Decision(f"{place_of(self.bench, failure, level, step, objective, theta)}: {failure.value}"))

    def finish(self, reason: str, seed: int) -> Solution:
        """Choose the level to return, check it, measure it."""
        if self.ladder is not None:
            if (below := None if self.failure else self.ladder.untold(self.changes)) is not None:
                self._visit(Visit(below))
                self._note_change(below + 1)
            self.emit(Decision(self.ladder.close()))
            for level in sorted(self.visited):
                self.emit(LevelFinished(self.visited[level].record(level), self.visited[level].field))
        level, trained = self._returned()
        guards = guarded(self.bench, self.visited, self.changes, level, trained, self.key, reason == "budget")
        result = self.failure or verdict(guards)
        result, reason = (RESULTS.interrupted, "budget") if reason == "interrupted" else (result, reason)
        seconds, compiled = self.elapsed, compile_seconds() - self.compiled
        self.emit(RunFinished(result, reason, guards, seconds))
        errors = {k: self.bench.accuracy(v.field) for k, v in self.visited.items()}
        reached = self.bench.accuracy(trained)
        validation = self.visited[level].validation if level in self.visited else None
        return Solution(
            problem=self.problem,
            field=trained,
            result=result,
            stopped_by=reason,
            levels=[
                *self.stages.rows(self.led),
                *(self.visited[k].record(k, errors[k].relative_l2) for k in sorted(self.visited)),
            ],
            guards=guards,
            history=self.history,
            plan=self.plan.text,
            solver=named(self.plan.solver),
            cycle=named(self.plan.cycle),
            field_kind=self.plan.label or type(trained).__name__,
            seed=seed,
            linear_in_parameters=linear_in_parameters(trained),
            parameters=parameter_count(trained),
            loss=self.visited[level].loss if level in self.visited else float("nan"),
            accuracy=Accuracy(reached.relative_l2, reached.max_error, reached.floor, validation),
            fresh_residual_ratio=guards["fresh_residual"].value if "fresh_residual" in guards else None,
            seconds_total=seconds,
            seconds_compile=compiled,
            work_units=sum(v.work for v in (*self.visited.values(), *(v for _, v in self.led))),
            second_order=self.plan.solver.second_order,
            linear_problem=self.plan.linear,
            changes=[self.changes[k] for k in sorted(self.changes)],
        )

    def _returned(self) -> tuple[int, Any]:
        """The finest level; with data the one with the smallest validation error, fitted again to all of them."""
        if not self.visited:
            return (0, self.levels[0].field) if not self.led else (self.led[-1][0], self.led[-1][1].field)
        last = last_level(self.visited, self.current, self.elapsed > self.budget, self.ladder)
        if self.failure is None:
            return chosen(self.bench, self.visited, self.changes, last, self.budget - self.elapsed, self.emit)
        return last, self.visited[last].field
