/* The time of a call. */
#ifndef CLOCK_H
#define CLOCK_H

#include "block.h"

/*
 * The clock of a recording that is to be replayed. The counter traps there, and so would the vDSO: it is asked for by a call, which
 * costs as much as a cheap call of the program. So it is read around calls that may wait; and at each other one where they are far
 * apart, else once in so many, or when the engine says that it has become old. Else the time is that of the last reading.
 */
enum { FAR_APART_NS = 16000, APART_NS = 4000, SOMETIMES = 4, SELDOM = 16 };

static u64 read_clock(struct block *block)
{
	struct {
		u64 seconds, nanoseconds;
	} now;

	if (!agent_own_call(NR_CLOCK_GETTIME, CLOCK_MONOTONIC, (u64)&now, 0, 0))
		block->clock = now.seconds * 1000000000 + now.nanoseconds;
	return block->clock;
}

/* Whether a call tells the program what the clock here says, and so that. */
static inline int tells_clock(const struct block *block, const struct frame *frame)
{
	return block->replayable && frame->rax == NR_CLOCK_GETTIME && frame->args[0] == CLOCK_MONOTONIC;
}

/* The clock was read, which said `before` last: after how many calls it is to be read again. */
static void plan_next(struct block *block, u64 before)
{
	u64 since = block->clock - before;

	if (since > (u64)FAR_APART_NS * block->since)
		block->every = 1;
	else
		block->every = since > (u64)APART_NS * block->since ? SOMETIMES : SELDOM;
	block->since = 0;
}

/* The time before a call, which may tell it; whether it is to be asked for afterwards, too. */
static int begin_time(struct block *block, int waits, int tells, u64 *start)
{
	u64 before = block->clock;

	if (!block->replayable) {
		*start = counter();
		return 1;
	}
	block->since++;
	if (waits || ((block->stale || block->since >= block->every) && !tells)) {
		block->stale = 0;
		read_clock(block);
		plan_next(block, before);
	}
	*start = block->clock;
	return tells ? 0 : waits || block->every == 1;
}

static inline u64 end_time(struct block *block, int asks)
{
	if (!block->replayable)
		return counter();
	return asks ? read_clock(block) : block->clock;
}

/* A call was to tell what the clock says, in its only capture. When it has not, the clock is read. */
static void take_time(struct block *block, struct record *record, i64 result)
{
	const struct capture *told = (const struct capture *)(record + 1);
	const u64 *now = (const u64 *)(told + 1);
	u64 before = block->clock;

	if (result || record->captures != 1 || told->status != WHOLE)
		read_clock(block);
	else
		block->clock = now[0] * 1000000000 + now[1];
	if (block->clock < before)
		/* Somebody has written over it meanwhile. */
		block->clock = before;
	block->stale = 0;
	plan_next(block, before);
	record->start = record->end = block->clock;
}

#endif
