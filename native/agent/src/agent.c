/*
 * The agent: code that runs inside a tracee, makes the program's system calls for it, and writes down what crossed the
 * boundary. The engine (native/engine/src/agent) puts it there, tells it by a table which calls are its own, and gets all the
 * others; what is not surely right in here is left to the engine.
 *
 * House rules
 *  1. No C library, no allocation, no thread-local storage, no lock. All state is in the thread's block, found through %gs.
 *  2. No vector or floating-point register (-mgeneral-regs-only); memory is copied by `rep movsb`.
 *  3. A stack of its own. The program's may be tiny, and belongs to the program.
 *  4. The program's memory is read by agent_copy and agent_copy_string only: a pointer may be bad, which the engine turns into
 *     a short copy. Nothing of the program is ever written but what the kernel writes for it.
 *  5. A call is made by agent_call, once, after everything that could make this code give up. What follows cannot fail. The one that
 *     leaves for good is made by agent_return.
 *  6. It makes no call of its own that could wait, and none that changes the process.
 *  7. A signal finds a thread in here at any instruction. It is never delivered here: the engine moves the thread to before
 *     or behind the call (see entry.S). So there is no recursion, and the phase in the block has to be right at all times.
 *  8. Layouts are those of native/format/src/ring.rs, asserted in block.h. All headers are parts of this one unit, for the compiler to inline.
 */
#include "waits.h"

/* Whether the call makes another descriptor of one that is known. */
static inline int duplicates(const struct row *row, const u64 *args)
{
	return row->kind == KIND_DUP || (row->kind == KIND_FCNTL && ((u32)args[1] == 0 || (u32)args[1] == 1030));
}

/* Whether an option of a socket is a filter, a program that is elsewhere in memory: SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF. */
static inline int leads_to_program(const u64 *args)
{
	enum { SOL_SOCKET = 1, FILTER = 26, REUSEPORT_FILTER = 51 };

	return (u32)args[1] == SOL_SOCKET && ((u32)args[2] == FILTER || (u32)args[2] == REUSEPORT_FILTER);
}

/*
 * Whether a call closes what is not open: programs close all numbers that there may be, before they execute another one, and give free
 * numbers to what they have.
 */
static int closes_nothing(u64 fd)
{
	enum { F_GETFD = 1 };

	return agent_own_call(NR_FCNTL, fd, F_GETFD, 0, 0) == -EBADF;
}

/* How execve(2) fails when the way to its program does already, as that of any file; 0 where there is something. */
static i64 exec_error(const struct frame *frame)
{
	u64 facts[STAT_BYTES / 8];
	i64 result = agent_own_call(NR_NEWFSTATAT, (u64)AT_FDCWD, frame->args[0], (u64)facts, 0);

	return result == -ENOENT || result == -ENOTDIR || result == -EACCES ? result : 0;
}

/* Whether this call of a kind is the agent's. */
static inline int admits(const struct row *row, const struct frame *frame, const struct block *block)
{
	const u64 *args = frame->args;

	for (u32 slots = row->fds; slots; slots &= slots - 1) {
		u32 slot = __builtin_ctz(slots);

		if (is_known((int)args[slot]))
			continue;
		if ((row->kind != KIND_CLOSE && (row->kind != KIND_DUP || slot != 1)) || !closes_nothing(args[slot]))
			return 0;
	}
	if (row->sink && has((int)args[row->sink - 1], KNOWN_WRITES_STOP))
		return 0;
	if (block->refuse & REFUSE_DESCRIPTORS && (row->fds || row->kind == KIND_POLL || row->kind == KIND_SELECT))
		return 0;
	switch (row->kind) {
	case KIND_OPEN:
		if (block->replayable && truncates_mapped(frame, block))
			return 0;
		/* fall through */
	case KIND_DUP:
	case KIND_MAKE:
	case KIND_PAIR:
		return !(block->refuse & REFUSE_OPENS);
	case KIND_FCNTL:
		/* F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK; F_DUPFD, F_DUPFD_CLOEXEC */
		if ((u32)args[1] - 1 < 6)
			return 1;
		return duplicates(row, args) && !(block->refuse & REFUSE_OPENS);
	case KIND_MAP:
		/* Where nothing is to be replayed, the engine tells of code as it is mapped. */
		if (block->replayable ? !maps_file(frame, block) && !maps_private(frame, block) : args[2] & 4)
			return 0;
		return !is_ours(args[0], args[1]);
	case KIND_PROTECT:
		return !(args[2] & 4) && !is_ours(args[0], args[1]) && !is_guarded(block, args[0], args[1]);
	case KIND_UNMAP:
		return !is_ours(args[0], args[1]);
	case KIND_REMAP:
		return remaps_own(block, args);
	case KIND_MOVE:
		return !block->replayable || !may_be_output(block, args[row->sink - 1]);
	case KIND_RENAME:
		return renames_no_directory(frame);
	case KIND_OPTION:
		return !leads_to_program(args);
	case KIND_END:
		return !(block->refuse & REFUSE_ENDS);
	case KIND_OWN:
		/* ARCH_SET_FS; or the limits of the process itself, and no new ones */
		return frame->rax == NR_ARCH_PRCTL ? args[0] == 0x1002 : !(int)args[0] && !args[2];
	case KIND_FUTEX:
		if (is_guarded(block, args[0], sizeof(u32)))
			return 0;
		/* FUTEX_WAKE, or FUTEX_WAIT and FUTEX_WAIT_BITSET without a timeout. */
		switch (args[1] & 0x7f) {
		case 1:
			return 1;
		case 0:
		case 9:
			return !args[3];
		default:
			return 0;
		}
	default:
		return 1;
	}
}

/*
 * The row of a call whose command says what is behind its pointer: `made` of `row`, or 0 when the call is the engine's. Sizes are
 * those of ioctl_tty(2) and fcntl(2), as in the engine's irregular/ioctl.rs.
 */
static const struct row *by_command(const struct row *row, const struct frame *frame, struct row *made)
{
	enum { F_GETLK = 5, F_SETLK = 6, FLOCK_BYTES = 32 };
	enum { TCGETS = 0x5401, TIOCGPGRP = 0x540f, TIOCGWINSZ = 0x5413, FIONREAD = 0x541b, FIONBIO = 0x5421,
	       FIONCLEX = 0x5450, FIOCLEX = 0x5451, FICLONE = 0x40049409 };
	struct pointer *pointer = &made->pointers[0];
	u32 command = frame->args[1];

	made->kind = row->kind;
	made->count = 1;
	made->fds = row->fds;
	made->sink = made->waits = 0;
	pointer->slot = 2;
	pointer->direction = DIRECTION_OUT;
	pointer->shape = SHAPE_BYTES;
	pointer->length = LENGTH_OWN;
	pointer->omit = row->pointers[0].omit;
	if (row->kind == KIND_FCNTL) {
		if (command != F_GETLK && command != F_SETLK)
			made->count = 0;
		pointer->size = FLOCK_BYTES;
		pointer->direction = command == F_GETLK ? DIRECTION_IN_OUT : DIRECTION_IN;
		return made;
	}
	switch (command) {
	case TCGETS:
		pointer->size = 36;
		return made;
	case TIOCGWINSZ:
		pointer->size = 8;
		return made;
	case FIONBIO:
		pointer->direction = DIRECTION_IN;
		/* fall through */
	case TIOCGPGRP:
	case FIONREAD:
		pointer->size = 4;
		return made;
	case FICLONE:
		/* It writes to the file. */
		made->sink = 1;
		/* fall through */
	case FIONCLEX:
	case FIOCLEX:
		made->count = 0;
		return made;
	default:
		return 0;
	}
}

/* Writes down what is known of a call before it is made; 0 when there is no room, or it is for the engine. */
static int take_call(struct writer *writer, struct block *block, const struct row *row, const struct frame *frame, u64 *content)
{
	struct record *record;

	begin_record(writer, block);
	if (writer->end < writer->at + CAPTURE_BYTES + 8)
		return 0;
	block->pending = block->head;
	record = writer->record;
	say_site(record, block, frame, frame->rax);
	for (u32 i = 0; i < 6; i++)
		record->args[i] = frame->args[i];
	if (row->kind == KIND_MAP && writer->replayable && !(frame->args[3] & MAP_ANONYMOUS))
		return take_mapped(writer, block, frame, content);
	return take_inputs(writer, row, frame);
}

/*
 * What a call surely results in that need not be made: one that the recorder has fail, that closes nothing, or executes nothing where to
 * execute something is the engine's. 0 of all others.
 */
static inline i64 known_result(const struct row *row, const struct frame *frame, const struct block *block)
{
	if (row->kind == KIND_REFUSED)
		return -ENOSYS;
	if (row->kind == KIND_EXEC)
		return block->refuse & REFUSE_EXECS ? exec_error(frame) : 0;
	return row->kind == KIND_CLOSE && !is_known((int)frame->args[0]) ? -EBADF : 0;
}

/* As if the call had been made. */
static i64 answer_call(struct block *block, i64 result)
{
	block->result = result;
	FENCE();
	block->phase = PHASE_CALLED;
	return result;
}

static int leave(struct block *block)
{
	block->phase = PHASE_LEFT;
	return 1;
}

/* The thread has left by rt_sigreturn(2) last: its record is complete. */
static inline void end_return(struct block *block)
{
	u64 size = block->returning;

	if (!size)
		return;
	block->returning = 0;
	FENCE();
	block->head += size;
	FENCE();
}

/* What rt_sigreturn(2) reads, of a frame that is 8 bytes below: struct ucontext (asm/ucontext.h, asm/sigcontext.h). */
struct context {
	u64 flags, link, stack[3], r8_to_r15[8], rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	u16 cs, gs, fs, ss;
	u64 fault[4], state, reserved[8], mask;
};
_Static_assert(sizeof(struct context) == 304, "context");

/*
 * Whether a handler comes back to the place that it has interrupted, and nothing happens on the way that the engine has to know of: signals
 * that come as soon as they are let in, steps, and calls that are made again.
 */
static int comes_from_handler(const struct block *block, struct context *context)
{
	enum { CS_64 = 0x33, TRAP_FLAG = 0x100, SET_BYTES = 8, FIRST_RESTART = -516, LAST_RESTART = -512 };
	u64 pending = 0;

	if (!block->back[0] || agent_copy(context, block->sp, sizeof(*context)))
		return 0;
	if (context->rip != block->back[0] || context->cs != CS_64 || context->eflags & TRAP_FLAG)
		return 0;
	if ((i64)context->rax >= FIRST_RESTART && (i64)context->rax <= LAST_RESTART)
		return 0;
	return !block->replayable || (!agent_own_call(NR_RT_SIGPENDING, (u64)&pending, SET_BYTES, 0, 0) && !pending);
}

/* Leaves by rt_sigreturn(2), with a copy of the context: what the program has in memory stays as it is. 1 when the call is the engine's. */
static __attribute__((noinline)) int return_from_handler(const struct row *row, struct frame *frame, struct block *block)
{
	struct context context;
	struct writer writer;
	u64 unused;
	int asks;

	if (!comes_from_handler(block, &context) || !take_call(&writer, block, row, frame, &unused) || !fits(&writer, sizeof(context.mask)))
		return leave(block);
	asks = begin_time(block, 0, 0, &writer.record->start);
	take(&writer, 0, SIDE_IN, block->sp + __builtin_offsetof(struct context, mask), sizeof(context.mask), row->pointers[0].omit);
	writer.record->end = end_time(block, asks);
	writer.record->result = context.rax;
	writer.record->size = writer.at - (u8 *)writer.record;
	context.rip = block->back[1];
	FENCE();
	block->phase = PHASE_RETURNING;
	FENCE();
	block->returning = writer.record->size;
	agent_return(&context);
}

/* What is behind the number of the processor, as rdtscp gives it: the limit of a segment that the kernel has for this. */
static inline u32 processor(void)
{
	u32 limit, selector = 0x7b;

	__asm__("lsl %1, %0" : "=r"(limit) : "r"(selector) : "cc");
	return limit;
}

/* The time stamp counter, which traps where it is recorded: as the engine tells it, from the same clock. */
static u64 counter_at(const struct block *block, u64 time)
{
	unsigned __int128 grown = (unsigned __int128)(time - block->counter_time) * block->counter_rate;

	return block->counter + (u64)(grown >> 32);
}

/* Whether threads have waited for others behind this address, and others want the turn now. */
static int is_waited_at(const struct block *block, u64 ip)
{
	u32 i = 0;

	if (!(block->refuse & REFUSE_TURNS))
		return 0;
	while (i < BLOCK_COUNTERS && block->waited[i] != ip)
		i++;
	return i < BLOCK_COUNTERS;
}

/* rdtsc or rdtscp: 0 when it was answered, 1 when it is the engine's. */
int agent_count(struct frame *frame, struct block *block)
{
	u64 kind = frame->site[SITE_KIND / 8];
	struct record *record;
	struct writer writer;

	end_return(block);
	if (!block->replayable || !block->counter_rate || block->refuse & REFUSE_ALL ||
	    is_waited_at(block, ip_of(frame->site)))
		return leave(block);
	if (has_lapped(block))
		begin_lap(block);
	begin_record(&writer, block);
	if (writer.end < writer.at && begin_lap(block))
		begin_record(&writer, block);
	if (writer.end < writer.at)
		return leave(block);
	record = writer.record;
	block->pending = block->head;
	FENCE();
	block->phase = PHASE_ANSWERING;
	record->size = RECORD_BYTES;
	say_site(record, block, frame, RECORD_INSTRUCTIONS | kind);
	record->start = record->end = read_clock(block);
	block->result = record->result = counter_at(block, record->start);
	block->processor = record->args[0] = kind == SITE_RDTSCP ? processor() : 0;
	FENCE();
	block->head += RECORD_BYTES;
	FENCE();
	/* The engine does the same for a thread that has come as far as here. */
	frame->rax = (u32)block->result;
	frame->args[2] = (u64)block->result >> 32;
	if (kind == SITE_RDTSCP)
		block->rcx = block->processor;
	block->phase = PHASE_DONE;
	return 0;
}

/* 0 when the call has been made and its result is in the frame, 1 when it is the engine's. */
int agent_handle(struct frame *frame, struct block *block)
{
	u64 number = frame->rax;
	const struct row *row;
	struct row made;
	struct writer writer;
	struct record *record;
	const struct name *name = 0;
	i64 result, answer;
	u32 size;
	u64 content = 0;
	int waits, asks, tells, is_named = 0, in_turn = 0;

	end_return(block);
	if (number >= TABLE_NUMBERS || !indexes[number] || block->refuse & REFUSE_ALL)
		return leave(block);
	row = &rows[indexes[number]];
	if (row->kind == KIND_FCNTL || row->kind == KIND_IOCTL)
		row = by_command(row, frame, &made);
	if (!row || !admits(row, frame, block))
		return leave(block);
	answer = known_result(row, frame, block);
	if (row->kind == KIND_EXEC && !answer && block->refuse & REFUSE_EXECS)
		return leave(block);
	waits = may_wait(row, frame);
	if (waits && block->refuse & REFUSE_WAITS) {
		in_turn = waits_for_events(frame);
		if (!in_turn && !comes_back(row, frame, block))
			return leave(block);
		waits = 0;
	}
	if (has_lapped(block))
		begin_lap(block);
	if (row->kind == KIND_RETURN)
		return return_from_handler(row, frame, block);
	if (!take_call(&writer, block, row, frame, &content) &&
	    (!begin_lap(block) || !take_call(&writer, block, row, frame, &content)))
		return leave(block);
	record = writer.record;
	if ((u32)frame->args[0] < RING_KNOWN_BYTES) {
		if (row->kind == KIND_CLOSE)
			known[(u32)frame->args[0]] = 0;
		else if (says_whether_to_wait(row, frame))
			known[(u32)frame->args[0]] &= ~KNOWN_NO_WAIT;
	}
	record->size = writer.at - (u8 *)record;
	tells = tells_clock(block, frame);
	asks = begin_time(block, waits, tells, &record->start);
	FENCE();
	if (in_turn) {
		if (!wait_in_turn(frame, block, &result))
			return leave(block);
	} else if (row->kind == KIND_OPEN) {
		name = find_name(&writer, block);
		result = open_file(row, frame, block, name, &is_named);
	} else {
		result = answer ? answer_call(block, answer) : agent_call(frame);
	}
	record->end = end_time(block, asks);
	if (result >= 0 || result < -4095) {
		take_outputs(&writer, row, frame, result);
		if (content)
			take_content(&writer, block, result, content);
		if (writer.twin)
			put_twin(&writer, block, frame, result);
		if (row->kind == KIND_MAP && block->replayable && !(frame->args[3] & (MAP_ANONYMOUS | MAP_AT_ADDRESS))) {
			block->last.start = result;
			block->last.end = result + (frame->args[1] + 4095) / 4096 * 4096;
		} else if (row->kind == KIND_UNMAP && frame->args[0] < block->last.end &&
			   frame->args[0] + frame->args[1] > block->last.start) {
			block->last.start = block->last.end = 0;
		}
		if (row->kind == KIND_OPEN)
			identify(&writer, block, result, name, is_named, opens_to_write(frame));
		else if (row->kind == KIND_MAKE)
			identify(&writer, block, result, 0, 0, 0);
		else if (row->kind == KIND_PAIR)
			identify_both(&writer, block, frame->args[row->pointers[0].slot]);
		else if (duplicates(row, frame->args) && result < RING_KNOWN_BYTES)
			known[result] = known[(u32)frame->args[0]];
	} else if (block->replayable) {
		take_after_error(&writer, row, frame, result);
	}
	if (tells)
		take_time(block, record, result);
	record->result = result;
	frame->rax = result;
	size = writer.at - (u8 *)record;
	record->size = size;
	FENCE();
	block->head += size;
	FENCE();
	if (row->kind == KIND_OPEN && result >= 0)
		look_again(block, &writer, result);
	block->phase = PHASE_DONE;
	return 0;
}
