"""The compiled entry points, which walk over all lanes."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from envs.kernel.book import BLOCK_ELEMENTS, SINGLE_BLOCK, Block, Book, Option, make_work
from envs.kernel.episode import begin_episode, clear_record, clear_report
from envs.kernel.jit import Compiled, kernel, separate, source_digest
from envs.kernel.layout import Autoreset, Flag, OptionCount, OptionSetting
from envs.kernel.option import begin_options, next_run, update_options
from envs.kernel.projection import first_faulty
from envs.kernel.rules import Rule
from envs.kernel.step import end_block, step_block, step_stream
from envs.kernel.stream import TABLE, begin_paths

NO_FAULT = -1
"""Return value of a kernel call that went well."""
ENDED = -2
"""Kernel code - lane: the lane has ended and autoreset is disabled (see `build_run`)."""


@separate
def find_fault(actions_M: NDArray[np.float64], book: Book) -> int:
    """Return `NO_FAULT`, the index of an action that is not finite, or `ENDED` - lane."""
    if int(book.rules_R[Rule.autoreset]) == Autoreset.DISABLED:
        for lane in range(book.flags_FN.shape[1]):
            if book.flags_FN[Flag.ENDED, lane]:
                return ENDED - lane
    return first_faulty(actions_M)


@separate
def prepare(book: Book, option: Option) -> None:
    """Clear the record, and begin options where there are some."""
    if book.rules_R[Rule.record] != 0.0:
        for lane in range(book.record_NR.shape[0]):
            clear_record(lane, book)
    if option.settings_4[OptionSetting.ACTIVE] != 0.0:
        begin_options(book, option)


@separate
def next_block(block: Block, limit: int, lanes: int, book: Book, option: Option) -> Block:
    """Return the block to step after this one was stepped; its size is 0 at the end.

    A plain step visits each block once. Options stay with a block while all of its lanes run;
    once some have ended the others go on in smaller blocks.

    Args:
        block: The block just stepped; of size 0 before the first.
        limit: Largest size of a block.
        lanes: Number of lanes.
        book: Arrays.
        option: Options in progress.
    """
    if option.settings_4[OptionSetting.ACTIVE] == 0.0:
        first = block.first + block.size
        return Block(first, min(limit, lanes - first), block.width)
    if block.size > 0 and update_options(block, book, option) == block.size:
        return block
    return next_run(block, limit, lanes, option)


@cache
def build_run(*, single: bool, generator: int = TABLE) -> Compiled[..., int]:
    """Return the compiled step, or option, over all lanes.

    Args:
        single: One asset: the loops over assets vanish, and those over lanes are vectorised.
        generator: Code of what makes the market (see `markets.synthetic.layout.Generator`). Both
            arguments are constants of the machine code, which has no part of other generators.

    Returns:
        A function of (actions_M, the arrays of `Option`, the arrays of `Book`) that returns
        `NO_FAULT`, the index of an action that is not finite, or `ENDED` - lane; then nothing has
        changed.
    """
    digest = source_digest(synthetic=generator != TABLE)

    @kernel
    def run_lanes(  # noqa: PLR0913, PLR0917 - numba unboxes flat arguments fastest
        actions_M: NDArray[np.float64],
        counts_3N: NDArray[np.int64],
        sums_5N: NDArray[np.float64],
        settings_4: NDArray[np.float64],
        rules_R: NDArray[np.float64],
        market_TK: NDArray[np.float64],
        events_T3A: NDArray[np.float64],
        lot_A: NDArray[np.float64],
        levels_L: NDArray[np.float64],
        state_SN: NDArray[np.float64],
        shares_M: NDArray[np.float64],
        clock_CN: NDArray[np.int32],
        keys_KN: NDArray[np.int64],
        flags_FN: NDArray[np.bool_],
        current_M: NDArray[np.float32],
        final_M: NDArray[np.float32],
        record_NR: NDArray[np.float64],
    ) -> int:
        digest  # noqa: B018 - a free variable: part of the key of numba's cache
        option = Option(counts_3N, sums_5N, settings_4)
        book = Book(
            rules_R, market_TK, events_T3A, lot_A, levels_L, state_SN, shares_M, clock_CN,
            keys_KN, flags_FN, current_M, final_M, record_NR,
        )  # fmt: skip
        fault = find_fault(actions_M, book)
        if fault != NO_FAULT:
            return fault
        prepare(book, option)
        if generator != TABLE and settings_4[OptionSetting.ACTIVE] != 0.0:
            # Lanes that the option reset instead of stepping.
            begin_paths(generator, 0, state_SN.shape[1], book)
        width = 1 if single else lot_A.shape[0]
        limit = SINGLE_BLOCK if single else max(BLOCK_ELEMENTS // width, 1)
        work = make_work(limit, limit * width)
        lanes = state_SN.shape[1]
        block = next_block(Block(0, 0, width), limit, lanes, book, option)
        while block.size > 0:
            block = Block(block.first, block.size, width)
            drifts = settings_4[OptionSetting.ACTIVE] > settings_4[OptionSetting.REBALANCE]
            submit = not (drifts and counts_3N[OptionCount.DURATION, block.first] > 0)
            if generator == TABLE:
                step_block(actions_M, submit, block, work, book)
                end_block(block, book)
            if generator != TABLE:
                step_stream(generator, actions_M, submit, block, work, book)
                end_block(block, book)
                begin_paths(generator, block.first, block.size, book)
            block = next_block(block, limit, lanes, book, option)
        return NO_FAULT

    return run_lanes


@cache
def build_reset(*, generator: int = TABLE) -> Compiled[..., None]:
    """Return the compiled reset of chosen lanes.

    Args:
        generator: As in `build_run`.

    Returns:
        A function of (chosen_N, start_N, the arrays of `Book`); a start of -1 is drawn.
    """
    digest = source_digest(synthetic=generator != TABLE)

    @kernel
    def reset_lanes(  # noqa: PLR0913, PLR0917 - numba unboxes flat arguments fastest
        chosen_N: NDArray[np.bool_],
        start_N: NDArray[np.int64],
        rules_R: NDArray[np.float64],
        market_TK: NDArray[np.float64],
        events_T3A: NDArray[np.float64],
        lot_A: NDArray[np.float64],
        levels_L: NDArray[np.float64],
        state_SN: NDArray[np.float64],
        shares_M: NDArray[np.float64],
        clock_CN: NDArray[np.int32],
        keys_KN: NDArray[np.int64],
        flags_FN: NDArray[np.bool_],
        current_M: NDArray[np.float32],
        final_M: NDArray[np.float32],
        record_NR: NDArray[np.float64],
    ) -> None:
        digest  # noqa: B018 - a free variable: part of the key of numba's cache
        book = Book(
            rules_R, market_TK, events_T3A, lot_A, levels_L, state_SN, shares_M, clock_CN,
            keys_KN, flags_FN, current_M, final_M, record_NR,
        )  # fmt: skip
        for lane in range(state_SN.shape[1]):
            if chosen_N[lane]:
                clear_report(lane, book)
                if rules_R[Rule.record] != 0.0:
                    clear_record(lane, book)
                begin_episode(lane, start_N[lane], book)
                if generator != TABLE:
                    begin_paths(generator, lane, 1, book)

    return reset_lanes
