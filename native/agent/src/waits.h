/* Calls that wait: whether one may, whether it surely comes back at once, and waits in which the turn is kept. */
#ifndef WAITS_H
#define WAITS_H

#include "clock.h"
#include "files.h"

/* Whether a call waits for events, and hands out nothing when there are none. One with a signal mask lets signals in that are there already. */
static inline int waits_for_events(const struct frame *frame)
{
	return frame->rax == NR_EPOLL_WAIT || (frame->rax == NR_EPOLL_PWAIT && !frame->args[4]);
}

/* Whether a call of a socket is told not to wait. */
static inline int is_told_not_to_wait(const struct frame *frame)
{
	enum { MSG_DONTWAIT = 0x40 };

	switch (frame->rax) {
	case NR_SENDTO:
	case NR_RECVFROM:
		return frame->args[3] & MSG_DONTWAIT;
	case NR_SENDMSG:
	case NR_RECVMSG:
		return frame->args[2] & MSG_DONTWAIT;
	default:
		return 0;
	}
}

/* Whether the time that select(2) has is over at once. */
static int has_no_time(u64 addr)
{
	u64 time[2];

	return addr && !agent_copy(time, addr, sizeof(time)) && !time[0] && !time[1];
}

static int may_wait(const struct row *row, const struct frame *frame)
{
	if (row->waits >= 2)
		return has((int)frame->args[row->waits - 2], KNOWN_WAITS) && !is_told_not_to_wait(frame);
	if (row->kind == KIND_SELECT)
		return !has_no_time(frame->args[4]);
	if (row->kind == KIND_FUTEX)
		return (frame->args[1] & 0x7f) != 1;
	/* Some have a time that is over at once. */
	if (frame->rax == NR_POLL)
		return (u32)frame->args[2] != 0;
	return row->waits && !(waits_for_events(frame) && !(u32)frame->args[3]);
}

struct polled {
	u32 fd;
	u16 events, found;
};

enum { POLLIN = 1, POLLPRI = 2, POLLOUT = 4, POLLERR = 8, POLLHUP = 16 };

/* Whether a descriptor is ready to be read from, or written to. */
static int is_ready(u32 fd, u16 events)
{
	struct polled entry = { fd, events, 0 };

	return agent_own_call(NR_POLL, (u64)&entry, 1, 0, 0) == 1;
}

/* Whether poll(2) finds something at once: it is asked for a copy, since it writes to its table whatever it finds. */
static int finds_at_once(u64 addr, u64 count)
{
	enum { MOST = 16 };
	struct polled entries[MOST];

	return count <= MOST && !agent_copy(entries, addr, count * sizeof(entries[0])) &&
	       agent_own_call(NR_POLL, (u64)entries, count, 0, 0) > 0;
}

/* The same of select(2), whose sets are looked at by poll(2): only of few descriptors. */
static int selects_at_once(const struct frame *frame)
{
	enum { MOST = 64 };
	/* What makes a descriptor a member of each set, select(2). */
	static const u16 asked[3] = { POLLIN, POLLOUT, POLLPRI }, found[3] = { POLLIN | POLLHUP | POLLERR, POLLOUT | POLLERR, POLLPRI };
	u32 count = frame->args[0];

	if (count > MOST)
		return 0;
	for (u32 set = 0; set < 3; set++) {
		u64 addr = frame->args[1 + set], word;

		if (!addr)
			continue;
		if (agent_copy(&word, addr, sizeof(word)))
			return 0;
		for (word &= count == MOST ? ~0ull : (1ull << count) - 1; word; word &= word - 1) {
			struct polled entry = { __builtin_ctzll(word), asked[set], 0 };

			if (agent_own_call(NR_POLL, (u64)&entry, 1, 0, 0) == 1 && entry.found & found[set])
				return 1;
		}
	}
	return 0;
}

/* Whether a message is so small that there is room for it in a socket that can be written to. */
static int is_small_message(u64 addr)
{
	enum { MOST = 8, SMALL = 4096 };
	struct piece pieces[MOST];
	struct message message;
	u64 total = 0;

	if (agent_copy(&message, addr, sizeof(message)) || message.count > MOST ||
	    agent_copy(pieces, message.pieces, message.count * sizeof(pieces[0])))
		return 0;
	for (u64 i = 0; i < message.count; i++)
		total += pieces[i].length < SMALL ? pieces[i].length : SMALL + 1;
	return total <= SMALL;
}

/*
 * Whether a call that may wait surely does not: others wait for this thread's turn then, who cannot have it before the engine knows. One
 * of another program may be faster, and take what was there: the engine sees to that.
 */
static int comes_back(const struct row *row, const struct frame *frame, struct block *block)
{
	enum { F_GETFL = 3, O_NONBLOCK = 04000, MSG_WAITALL = 0x100, PIPE_BUF = 4096, OFTEN = 32 };
	const u64 *args = frame->args;
	u32 word, fd;
	i64 flags;

	if (row->kind == KIND_FUTEX)
		return !agent_copy(&word, args[0], sizeof(word)) && word != (u32)args[2];
	if (frame->rax == NR_POLL)
		return finds_at_once(args[0], args[1]);
	if (row->kind == KIND_SELECT)
		return selects_at_once(frame);
	if (row->waits < 2)
		return 0;
	fd = args[row->waits - 2];
	/*
	 * As it was a moment ago. Who else has the socket may have said otherwise: then the engine sees to it as to one whose bytes another
	 * has taken.
	 */
	if (has(fd, KNOWN_NO_WAIT) && block->believes) {
		block->believes--;
		return 1;
	}
	block->believes = OFTEN;
	flags = agent_own_call(NR_FCNTL, fd, F_GETFL, 0, 0);
	if (flags >= 0 && fd < RING_KNOWN_BYTES && known[fd])
		known[fd] = (known[fd] & ~KNOWN_NO_WAIT) | (flags & O_NONBLOCK ? KNOWN_NO_WAIT : 0);
	if (flags < 0 || flags & O_NONBLOCK)
		return 1;
	switch (frame->rax) {
	case NR_RECVFROM:
		if (args[3] & MSG_WAITALL)
			return 0;
		/* fall through */
	case NR_READ:
	case NR_READV:
		return is_ready(fd, POLLIN);
	case NR_RECVMSG:
		return !(args[2] & MSG_WAITALL) && is_ready(fd, POLLIN);
	case NR_SENDMSG:
		return is_small_message(args[1]) && is_ready(fd, POLLOUT);
	case NR_WRITE:
	case NR_SENDTO:
		/* For so much there is room then, pipe(7). */
		return args[2] <= PIPE_BUF && is_ready(fd, POLLOUT);
	default:
		return 0;
	}
}

/* Whether a call says if those about its descriptor are to wait: F_SETFL, FIONBIO. */
static inline int says_whether_to_wait(const struct row *row, const struct frame *frame)
{
	enum { F_SETFL = 4, FIONBIO = 0x5421 };

	return (row->kind == KIND_FCNTL && (u32)frame->args[1] == F_SETFL) ||
	       (row->kind == KIND_IOCTL && (u32)frame->args[1] == FIONBIO);
}

/*
 * Waits for events without giving the turn up: not at all, or until somebody wants it. Whether some came; if not, the engine makes the call
 * with its whole time, to which this adds little.
 */
static int wait_in_turn(const struct frame *frame, struct block *block, i64 *result)
{
	enum { SMALL_PART = 16 };
	int time = frame->args[3];
	struct frame other;

	other.rax = frame->rax;
	for (u32 i = 0; i < 6; i++)
		other.args[i] = frame->args[i];
	other.args[3] = 0;
	if (attempt(&other, block, TRIES_NO_WAIT, result))
		return 1;
	other.args[3] = time < 0 ? time : time / SMALL_PART;
	if (*result || !other.args[3] || !attempt(&other, block, TRIES_IN_TURN, result))
		return 0;
	read_clock(block);
	return 1;
}

#endif
