/* Writes down what a call reads and writes: the record at the head of the ring, and its captures. */
#ifndef WRITER_H
#define WRITER_H

#include "block.h"

static inline u8 *aligned(u8 *at)
{
	return (u8 *)(((u64)at + 7) & ~7ull);
}

/* Where captures go, and how far they may. */
struct writer {
	struct record *record;
	u8 *at, *end;
	u32 replayable;
	const struct block *block;
	/* Device and inode of the file that was opened, as in a struct stat. */
	u64 opened[2];
	/* What waits to take the place of the code that is mapped, from 1 on. */
	u64 twin;
};

/* Room for a capture of that length: a multiple of 8 bytes behind its head. */
static inline int fits(const struct writer *writer, u64 length)
{
	u64 left = writer->end - writer->at;
	return left >= CAPTURE_BYTES + 8 && length <= left - CAPTURE_BYTES - 8;
}

static inline struct capture *begin(const struct writer *writer, u8 slot, u8 side, u64 addr, u64 wanted)
{
	struct capture *capture = (struct capture *)writer->at;
	capture->addr = addr;
	capture->wanted = wanted;
	capture->slot = slot;
	capture->side = side;
	return capture;
}

static inline void finish(struct writer *writer, struct capture *capture, u64 length, u8 status)
{
	capture->length = length;
	capture->status = status;
	writer->at = aligned((u8 *)(capture + 1) + length);
	writer->record->captures++;
}

/*
 * Copies bytes behind a pointer. The room has been looked at; what another thread has changed since, in the record itself, gets
 * no more than there is.
 */
static void take(struct writer *writer, u8 slot, u8 side, u64 addr, u64 length, int omit)
{
	struct capture *capture;
	u64 missing;

	if (!addr || !length)
		return;
	if (!fits(writer, 0))
		return;
	capture = begin(writer, slot, side, addr, length);
	if (omit || !fits(writer, length)) {
		finish(writer, capture, 0, omit ? OMITTED : TRUNCATED);
		return;
	}
	missing = agent_copy(capture + 1, addr, length);
	finish(writer, capture, length - missing, missing ? UNREADABLE : WHOLE);
}

static int take_string(struct writer *writer, u8 slot, u64 addr, int omit)
{
	struct capture *capture;
	i64 length;

	if (!addr)
		return 1;
	if (!fits(writer, RING_MOST_STRING + 8))
		return 0;
	capture = begin(writer, slot, SIDE_IN, addr, 0);
	if (omit) {
		finish(writer, capture, 0, OMITTED);
		return 1;
	}
	length = agent_copy_string(capture + 1, addr, RING_MOST_STRING);
	if (length > RING_MOST_STRING)
		return 0;
	capture->wanted = length < 0 ? -1 - length : length;
	finish(writer, capture, capture->wanted, length < 0 ? UNREADABLE : WHOLE);
	return 1;
}

/* Descriptors that a set of select(2) is taken to have at most, as in the engine's capture.rs. */
enum { MOST_BITS = 1 << 20 };

/* Bytes behind a pointer, when the call is about to be made (result < 0) or has come back. */
static inline u64 length_of(const struct pointer *pointer, const struct frame *frame, i64 result)
{
	u64 count = frame->args[pointer->argument];
	u32 word;

	switch (pointer->length) {
	case LENGTH_OWN:
		return pointer->size;
	case LENGTH_ARG32:
		count = (u32)count;
		break;
	case LENGTH_BITS:
		count = (u32)count > MOST_BITS ? MOST_BITS : (u32)count;
		count = (count + 63) / 64;
		break;
	case LENGTH_RESULT:
		if (result >= 0 && (u64)result < count)
			count = result;
		break;
	case LENGTH_POINTEE:
		if (!count || agent_copy(&word, count, sizeof(word)))
			word = 0;
		count = word;
		break;
	default:
		break;
	}
	if ((pointer->shape == SHAPE_SIZED || pointer->shape == SHAPE_ARRAY) && count > SHAPE_MOST)
		count = SHAPE_MOST;
	return count * pointer->size;
}

/* Addresses of strings and the strings, as the engine takes them; 0 when the call is for it, since there are many or some cannot be read. */
static int take_strings(struct writer *writer, u8 slot, u64 addr)
{
	/* With what else is captured there must be fewer than a byte can count. */
	enum { MOST = 200 };
	struct capture *capture = begin(writer, slot, SIDE_IN, addr, 0);
	u64 *pointers = (u64 *)(capture + 1), count = 0;

	if (!addr)
		return 1;
	if (is_guarded(writer->block, addr, MOST * sizeof(*pointers)))
		return 0;
	do {
		if (count == MOST || !fits(writer, (count + 1) * sizeof(*pointers)) ||
		    agent_copy(&pointers[count], addr + count * sizeof(*pointers), sizeof(*pointers)))
			return 0;
	} while (pointers[count++]);
	if (writer->record->captures + count > MOST)
		return 0;
	capture->wanted = count * sizeof(*pointers);
	finish(writer, capture, capture->wanted, WHOLE);
	for (u64 i = 0; i + 1 < count; i++) {
		const struct capture *string = (const struct capture *)writer->at;

		if (!pointers[i] || is_guarded(writer->block, pointers[i], 1) ||
		    !take_string(writer, slot, pointers[i], 0) || string->status != WHOLE)
			return 0;
	}
	return 1;
}

struct piece {
	u64 addr, length;
};

enum { MOST_PIECES = 64 };

/*
 * The table of a vector and, of a call that sends, the buffers behind it. How much room is needed for those that are filled, or -1 when the
 * call is for the engine.
 */
static i64 take_pieces(struct writer *writer, const struct pointer *pointer, u64 addr, u64 count)
{
	const struct capture *table = (const struct capture *)writer->at;
	const struct piece *pieces = (const struct piece *)(table + 1);
	u64 total = 0;

	if (!addr || count > MOST_PIECES || !fits(writer, count * sizeof(*pieces)))
		return -1;
	take(writer, pointer->slot, SIDE_IN, addr, count * sizeof(*pieces), 0);
	if (!count)
		return 0;
	if (table->status != WHOLE)
		return -1;
	for (u64 i = 0; i < count; i++) {
		if (!pointer->omit && pieces[i].length > RING_BUFFER_BYTES)
			return -1;
		if (is_guarded(writer->block, pieces[i].addr, pieces[i].length))
			return -1;
		total += pointer->omit ? 0 : pieces[i].length;
		if (pointer->direction == DIRECTION_OUT)
			continue;
		if (!fits(writer, pointer->omit ? 0 : pieces[i].length) ||
		    is_code(writer->block, pieces[i].addr, pieces[i].length))
			return -1;
		take(writer, pointer->slot, SIDE_IN, pieces[i].addr, pieces[i].length, pointer->omit);
	}
	return total + count * (CAPTURE_BYTES + 8);
}

/* The buffers that a call has filled, of a vector whose table is in this capture. */
static void take_filled(struct writer *writer, const struct pointer *pointer, const struct capture *table, u64 count,
			i64 result)
{
	const struct piece *pieces = (const struct piece *)(table + 1);
	u64 left = result;

	for (u64 i = 0; i < count && i < MOST_PIECES && left; i++) {
		u64 length = pieces[i].length < left ? pieces[i].length : left;
		take(writer, pointer->slot, SIDE_OUT, pieces[i].addr, length, pointer->omit);
		left -= length;
	}
}

/* struct msghdr, recvmsg(2). */
struct message {
	u64 name;
	u32 name_length, pad;
	u64 pieces, count, control, control_length;
	u32 flags, pad2;
};

/* What is taken at most of a name, and of control data, as in the engine's capture.rs. */
enum { MOST_NAME = 4096, MOST_CONTROL = 64 << 10 };

/* Whether no descriptors come with messages of a socket: those of other families than AF_UNIX have none to give. */
static int brings_no_descriptors(u32 fd)
{
	enum { AF_INET = 2, AF_INET6 = 10, AF_NETLINK = 16 };
	u16 address[64];
	u32 length = sizeof(address);

	if (agent_own_call(NR_GETSOCKNAME, fd, (u64)address, (u64)&length, 0) < 0)
		return 0;
	return address[0] == AF_INET || address[0] == AF_INET6 || address[0] == AF_NETLINK;
}

/* What a message that is to be sent, or received, consists of. As take_pieces(). */
static i64 take_message(struct writer *writer, const struct pointer *pointer, const struct frame *frame)
{
	u64 addr = frame->args[pointer->slot];
	const struct capture *head = (const struct capture *)writer->at;
	const struct message *message = (const struct message *)(head + 1);
	const struct block *block = writer->block;
	int receives = pointer->direction == DIRECTION_OUT;
	u64 name_length, control_length;
	i64 total = 0;

	if (!addr || is_guarded(block, addr, sizeof(*message)) || !fits(writer, sizeof(*message)))
		return -1;
	take(writer, pointer->slot, SIDE_IN, addr, sizeof(*message), 0);
	if (head->status != WHOLE)
		return -1;
	name_length = message->name_length < MOST_NAME ? message->name_length : MOST_NAME;
	name_length = message->name ? name_length : 0;
	control_length = message->control ? message->control_length : 0;
	if (control_length && (!receives || control_length > MOST_CONTROL || !brings_no_descriptors(frame->args[0])))
		return -1;
	if (is_guarded(block, message->name, name_length) || is_guarded(block, message->control, control_length))
		return -1;
	if (!receives && name_length) {
		if (!fits(writer, name_length) || is_code(block, message->name, name_length))
			return -1;
		take(writer, pointer->slot, SIDE_IN, message->name, name_length, 0);
	}
	if (message->count)
		total = take_pieces(writer, pointer, message->pieces, message->count);
	return total < 0 ? -1 : total + (i64)(sizeof(*message) + name_length + control_length + 3 * (CAPTURE_BYTES + 8));
}

/* What has come with a message whose header is the record's first capture, and the table of its buffers the second. */
static void take_received(struct writer *writer, const struct pointer *pointer, u64 addr, i64 result)
{
	const struct capture *head = (const struct capture *)(writer->record + 1), *told;
	const struct message *before = (const struct message *)(head + 1), *message;
	u32 length;

	told = (const struct capture *)writer->at;
	take(writer, pointer->slot, SIDE_OUT, addr, sizeof(*message), 0);
	message = (const struct message *)(told + 1);
	if (told->status != WHOLE)
		return;
	/* The kernel says how long the name is, also when there is less room for it. */
	length = message->name_length < before->name_length ? message->name_length : before->name_length;
	take(writer, pointer->slot, SIDE_OUT, message->name, length < MOST_NAME ? length : MOST_NAME, 0);
	take_filled(writer, pointer, (const struct capture *)((const u8 *)(head + 1) + sizeof(*message)), before->count, result);
	take(writer, pointer->slot, SIDE_OUT, message->control,
	     message->control_length < MOST_CONTROL ? message->control_length : MOST_CONTROL, 0);
}

/* Whether the engine knows what all descriptors of a struct pollfd array stand for. */
static int polls_known(u64 addr, u64 length)
{
	struct {
		int fd;
		u32 events;
	} entry;

	if (!addr || length > MOST_PIECES * sizeof(entry))
		return !length;
	for (u64 at = 0; at < length; at += sizeof(entry))
		if (agent_copy(&entry, addr + at, sizeof(entry)) || !is_known(entry.fd))
			return 0;
	return 1;
}

/* The same of a set of select(2). */
static int selects_known(u64 addr, u64 length)
{
	u64 word;

	if (!addr)
		return 1;
	for (u64 at = 0; at < length; at += sizeof(word)) {
		if (agent_copy(&word, addr + at, sizeof(word)))
			return 0;
		for (; word; word &= word - 1)
			if (!is_known(at * 8 + __builtin_ctzll(word)))
				return 0;
	}
	return 1;
}

/* How many descriptors a call makes, of which the agent asks what they stand for. */
static inline u32 made_by(const struct row *row)
{
	return row->kind == KIND_PAIR ? 2 : row->kind == KIND_OPEN || row->kind == KIND_MAKE;
}

/* Takes what the kernel will read, and looks whether there is room for what it will write. */
static int take_inputs(struct writer *writer, const struct row *row, const struct frame *frame)
{
	u64 room = 0;

	for (u32 i = 0; i < row->count; i++) {
		const struct pointer *pointer = &row->pointers[i];
		u64 addr = frame->args[pointer->slot], length;
		i64 total;

		if (pointer->shape == SHAPE_STRING) {
			if (is_guarded(writer->block, addr, 1) ||
			    !take_string(writer, pointer->slot, addr, pointer->omit))
				return 0;
			continue;
		}
		if (pointer->shape == SHAPE_STRINGS) {
			if (!take_strings(writer, pointer->slot, addr))
				return 0;
			continue;
		}
		if (pointer->shape == SHAPE_ABSENT) {
			if (addr)
				return 0;
			continue;
		}
		if (pointer->shape == SHAPE_IOVEC || pointer->shape == SHAPE_MESSAGE) {
			total = pointer->shape == SHAPE_IOVEC ?
					take_pieces(writer, pointer, addr, frame->args[pointer->argument]) :
					take_message(writer, pointer, frame);
			if (total < 0)
				return 0;
			room += pointer->direction == DIRECTION_OUT ? total : 0;
			continue;
		}
		length = length_of(pointer, frame, -1);
		if (length > RING_BUFFER_BYTES || is_guarded(writer->block, addr, length))
			return 0;
		if (pointer->direction != DIRECTION_IN)
			room += length + CAPTURE_BYTES + 8;
		if (pointer->direction != DIRECTION_OUT) {
			if (!fits(writer, length) || is_code(writer->block, addr, length))
				return 0;
			if (row->kind == KIND_POLL && pointer->slot == 0 && !polls_known(addr, length))
				return 0;
			if (pointer->length == LENGTH_BITS && !selects_known(addr, length))
				return 0;
			take(writer, pointer->slot, SIDE_IN, addr, length, pointer->omit);
		}
	}
	room += made_by(row) * (CAPTURE_BYTES + STAT_BYTES + NAME_BYTES + 8);
	return fits(writer, room);
}

/* How many bytes the program has room for, by the record's first capture; all where it has not said that. */
static u64 room_told(const struct writer *writer, const struct pointer *pointer)
{
	const struct capture *told = (const struct capture *)(writer->record + 1);
	u32 room;

	if (writer->at < (const u8 *)(told + 1) + sizeof(room) || told->slot != pointer->argument || told->side != SIDE_IN ||
	    told->status != WHOLE)
		return ~0ull;
	room = *(const u32 *)(told + 1);
	return (u64)room * pointer->size;
}

static void take_outputs(struct writer *writer, const struct row *row, const struct frame *frame, i64 result)
{
	for (u32 i = 0; i < row->count; i++) {
		const struct pointer *pointer = &row->pointers[i];
		u64 length, room;

		if (pointer->direction == DIRECTION_IN)
			continue;
		if (pointer->shape == SHAPE_IOVEC)
			take_filled(writer, pointer, (const struct capture *)(writer->record + 1),
				    frame->args[pointer->argument], result);
		else if (pointer->shape == SHAPE_MESSAGE)
			take_received(writer, pointer, frame->args[pointer->slot], result);
		else {
			length = length_of(pointer, frame, result);
			room = pointer->length == LENGTH_POINTEE ? room_told(writer, pointer) : length;
			take(writer, pointer->slot, SIDE_OUT, frame->args[pointer->slot], length < room ? length : room,
			     pointer->omit);
		}
	}
}

/* Whether what is behind a pointer points on. */
static inline int is_nested(const struct pointer *pointer)
{
	return pointer->shape == SHAPE_IOVEC || pointer->shape == SHAPE_MESSAGE;
}

/*
 * What a call that failed may have changed all the same, as the engine takes it (capture.rs): what is there of memory that is not
 * there as a whole, and what the call was given to read and to write.
 */
static void take_after_error(struct writer *writer, const struct row *row, const struct frame *frame, i64 result)
{
	for (u32 i = 0; result == -EFAULT && i < row->count; i++) {
		const struct pointer *pointer = &row->pointers[i];
		u64 addr = frame->args[pointer->slot], length = length_of(pointer, frame, -1);
		struct capture *capture;

		if (pointer->direction != DIRECTION_OUT || is_nested(pointer) || !addr || pointer->omit)
			continue;
		if (length > SHAPE_MOST)
			length = SHAPE_MOST;
		if (!length || !fits(writer, length))
			continue;
		capture = begin(writer, pointer->slot, SIDE_OUT, addr, 0);
		capture->wanted = length - agent_copy(capture + 1, addr, length);
		if (capture->wanted)
			finish(writer, capture, capture->wanted, WHOLE);
	}
	for (u32 i = 0; i < row->count; i++) {
		const struct pointer *pointer = &row->pointers[i];

		if (pointer->direction == DIRECTION_IN_OUT && !is_nested(pointer))
			take(writer, pointer->slot, SIDE_OUT, frame->args[pointer->slot], length_of(pointer, frame, 0),
			     pointer->omit);
	}
}

/* A record at the head, with room as far as the buffer goes, or up to what the engine has not taken yet. */
static void begin_record(struct writer *writer, const struct block *block)
{
	u8 *buffer = (u8 *)block + RING_HEAD_BYTES;
	u64 at = block->head % RING_BUFFER_BYTES;
	u64 room = RING_BUFFER_BYTES - (block->head - block->taken);

	writer->record = (struct record *)(buffer + at);
	writer->at = (u8 *)(writer->record + 1);
	writer->end = buffer + (room < RING_BUFFER_BYTES - at ? at + room : RING_BUFFER_BYTES);
	writer->replayable = block->replayable;
	writer->block = block;
	writer->opened[0] = writer->opened[1] = 0;
	writer->twin = 0;
}

/* Goes on at the start of the buffer, if the engine has taken what was there. */
static int begin_lap(struct block *block)
{
	u64 at = block->head % RING_BUFFER_BYTES, next = block->head - at + RING_BUFFER_BYTES;

	if (!at || next - block->taken >= RING_BUFFER_BYTES)
		return 0;
	*(u64 *)((u8 *)block + RING_HEAD_BYTES + at) = RECORD_END_OF_LAP;
	FENCE();
	block->head = next;
	return 1;
}

static inline int has_lapped(const struct block *block)
{
	return block->head % RING_BUFFER_BYTES >= RING_SHORT_LAP && block->head - block->taken <= RING_NEARLY_ALL;
}

/* Writes down which site a record is of, and that there are no captures yet. */
static inline void say_site(struct record *record, const struct block *block, const struct frame *frame, u16 number)
{
	record->number = number;
	record->captures = 0;
	record->ip = ip_of(frame->site);
	record->sp = block->sp;
}

#endif
