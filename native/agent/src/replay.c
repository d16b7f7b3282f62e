/*
 * The agent in replay: it makes no call at all. A patched site asks it for the answer of its call, which the engine has put
 * there beforehand. What is not the recorded call in all that replay compares is left to the engine, as is every call for
 * which there is no answer: the `syscall` instruction in the trampoline stops the thread.
 *
 * The house rules of agent.c hold, but for one: here the program's memory is written to, for the kernel that had done so. That
 * happens after everything was compared and every page was tried, so that a call which is left has changed nothing. A page
 * that cannot be read or written faults at one of the labels in replay.S, and the engine has the thread go on behind.
 * This code may stand anywhere: it knows no address, and finds its block through %gs.
 */
#include "answers.h"
#include "site.h"

struct replay_frame {
	u64 rax;
	u64 args[6];
	const u64 *site;
	u64 flags;
};

struct piece {
	u64 addr, length;
};

struct answer {
	u32 size, number, nargs, compared, written, pad;
	i64 result;
	u64 ip, sp;
	u64 args[6];
};

struct replay_block {
	struct replay_block *self;
	u64 stack, sp, leave;
	const struct answer *next, *end;
	u64 unused[9];
	const u64 *site;
	u64 rcx, r11;
};

AT(replay_frame, rax, REPLAY_FRAME_RAX);
AT(replay_frame, args, REPLAY_FRAME_ARGS);
AT(replay_frame, site, REPLAY_FRAME_SITE);
AT(replay_frame, flags, REPLAY_FRAME_FLAGS);
_Static_assert(sizeof(struct replay_frame) == REPLAY_FRAME_BYTES, "frame");
AT(piece, addr, PIECE_ADDR);
AT(piece, length, PIECE_LENGTH);
_Static_assert(sizeof(struct piece) == PIECE_BYTES, "piece");
AT(answer, size, ANSWER_SIZE);
AT(answer, number, ANSWER_NUMBER);
AT(answer, nargs, ANSWER_NARGS);
AT(answer, compared, ANSWER_COMPARED);
AT(answer, written, ANSWER_WRITTEN);
AT(answer, result, ANSWER_RESULT);
AT(answer, ip, ANSWER_IP);
AT(answer, sp, ANSWER_SP);
AT(answer, args, ANSWER_ARGS);
_Static_assert(sizeof(struct answer) == ANSWER_BYTES, "answer");
AT(replay_block, self, REPLAY_SELF);
AT(replay_block, stack, REPLAY_STACK);
AT(replay_block, sp, REPLAY_SP);
AT(replay_block, leave, REPLAY_LEAVE);
AT(replay_block, next, REPLAY_NEXT);
AT(replay_block, end, REPLAY_END);
AT(replay_block, site, REPLAY_SITE);
AT(replay_block, rcx, REPLAY_RCX);
AT(replay_block, r11, REPLAY_R11);
_Static_assert(sizeof(struct replay_block) == REPLAY_BLOCK_BYTES, "block");

/* 0 when the program's memory holds these bytes; 1 when not, or when it cannot be read. */
int replay_differs(const void *bytes, u64 addr, u64 length);
/* 0 when so many bytes of the program's memory can be written, from a byte in its first page on. */
int replay_guarded(u64 addr, u64 length);
void replay_copy(u64 addr, const void *bytes, u64 length);

static inline const struct piece *behind(const struct piece *piece)
{
	return (const struct piece *)((const u8 *)(piece + 1) + ((piece->length + 7) & ~7ull));
}

static inline const struct answer *after(const struct answer *answer)
{
	return (const struct answer *)((const u8 *)answer + answer->size);
}

/* rdtsc or rdtscp: 0 when it was answered, 1 when it is the engine's. */
int replay_count(struct replay_frame *frame, struct replay_block *block)
{
	const struct answer *answer = block->next;
	u64 kind = frame->site[SITE_KIND / 8];

	if (answer == block->end || answer->number != (RECORD_INSTRUCTIONS | kind) ||
	    answer->ip != ip_of(frame->site) || answer->sp != block->sp)
		return 1;
	frame->rax = (u32)answer->result;
	frame->args[2] = (u64)answer->result >> 32;
	if (kind == SITE_RDTSCP)
		block->rcx = (u32)answer->args[0];
	block->next = after(answer);
	return 0;
}

/* 0 when the call was answered and its result is in the frame, 1 when it is the engine's. */
int replay_handle(struct replay_frame *frame, struct replay_block *block)
{
	const struct answer *answer = block->next;
	const struct piece *piece = (const struct piece *)(answer + 1), *written;

	if (answer == block->end)
		return 1;
	if (answer->number != (u32)frame->rax || answer->ip != ip_of(frame->site) || answer->sp != block->sp)
		return 1;
	for (u32 i = 0; i < answer->nargs; i++)
		if (answer->args[i] != frame->args[i])
			return 1;
	for (u32 i = 0; i < answer->compared; i++, piece = behind(piece))
		if (replay_differs(piece + 1, piece->addr, piece->length))
			return 1;
	written = piece;
	for (u32 i = 0; i < answer->written; i++, piece = behind(piece))
		if (replay_guarded(piece->addr, piece->length))
			return 1;
	for (u32 i = 0; i < answer->written; i++, written = behind(written))
		replay_copy(written->addr, written + 1, written->length);
	frame->rax = answer->result;
	block->next = after(answer);
	return 0;
}
