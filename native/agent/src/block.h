/*
 * What the engine and the agent have in common, by the layouts of native/format/src/ring.rs: the thread's block, its records, and the table
 * of calls. And what is asked of the block alone.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include "site.h"

struct frame {
	u64 rax;
	u64 args[6];
	u64 rbx, rbp, r12, r13, r14, r15;
	const u64 *site;
	u64 flags;
};

struct block {
	struct block *self;
	u64 stack, sp, leave;
	i64 result;
	u32 phase, refuse;
	u64 head, pending;
	u32 replayable, stale;
	u64 clock;
	u32 every, since;
	u64 taken, tries;
	u64 maps, asks;
	const u64 *site;
	u64 rcx, r11, processor;
	u64 counter, counter_time, counter_rate;
	u64 seen[FILES_BYTES / 8], mapped[FILES_BYTES / 8], written[FILES_BYTES / 8];
	struct part {
		u64 start, end;
	} code[BLOCK_CODE_PARTS], guarded[BLOCK_GUARDED_PARTS], last;
	u64 kept[BLOCK_KEPT_FILES][BLOCK_KEPT_WORDS];
	u64 waited[BLOCK_COUNTERS];
	u64 believes;
	u64 outputs[BLOCK_MOST_OUTPUTS][2];
	struct twin {
		u64 length, offset, moves;
	} twins[BLOCK_TWINS];
	u64 back[2], returning;
	struct name {
		u64 path, dev, ino, seconds, nanoseconds, number;
	} names[BLOCK_MOST_NAMES];
};

struct record {
	u32 size;
	u16 number;
	u8 captures, pad;
	u64 start, end;
	i64 result;
	u64 ip, sp;
	u64 args[6];
};

struct capture {
	u64 addr, wanted;
	u32 length;
	u8 slot, side, status, pad;
};

/* A pointer argument of a call. */
struct pointer {
	u8 slot, direction, shape, length, argument, omit;
	u16 size;
};

struct row {
	u8 kind, count, fds, sink, waits, pad[3];
	struct pointer pointers[TABLE_CAPTURES];
};

AT(frame, rax, FRAME_RAX);
AT(frame, args, FRAME_ARGS);
AT(frame, rbx, FRAME_RBX);
AT(frame, rbp, FRAME_RBP);
AT(frame, r12, FRAME_R12);
AT(frame, r13, FRAME_R13);
AT(frame, r14, FRAME_R14);
AT(frame, r15, FRAME_R15);
AT(frame, site, FRAME_SITE);
AT(frame, flags, FRAME_FLAGS);
_Static_assert(sizeof(struct frame) == FRAME_BYTES, "frame");
AT(block, self, BLOCK_SELF);
AT(block, stack, BLOCK_STACK);
AT(block, sp, BLOCK_SP);
AT(block, leave, BLOCK_LEAVE);
AT(block, result, BLOCK_RESULT);
AT(block, phase, BLOCK_PHASE);
AT(block, refuse, BLOCK_REFUSE);
AT(block, head, BLOCK_HEAD);
AT(block, pending, BLOCK_PENDING);
AT(block, replayable, BLOCK_REPLAYABLE);
AT(block, stale, BLOCK_STALE);
AT(block, clock, BLOCK_CLOCK);
AT(block, every, BLOCK_EVERY);
AT(block, since, BLOCK_SINCE);
AT(block, taken, BLOCK_TAKEN);
AT(block, tries, BLOCK_TRIES);
AT(block, maps, BLOCK_MAPS);
AT(block, asks, BLOCK_ASKS);
AT(block, site, BLOCK_SITE);
AT(block, rcx, BLOCK_RCX);
AT(block, r11, BLOCK_R11);
AT(block, processor, BLOCK_PROCESSOR);
AT(block, counter, BLOCK_COUNTER);
AT(block, counter_time, BLOCK_COUNTER_TIME);
AT(block, counter_rate, BLOCK_COUNTER_RATE);
AT(block, seen, BLOCK_SEEN);
AT(block, mapped, BLOCK_MAPPED);
AT(block, written, BLOCK_WRITTEN);
AT(block, code, BLOCK_CODE);
AT(block, guarded, BLOCK_GUARDED);
AT(block, last, BLOCK_LAST);
AT(block, kept, BLOCK_KEPT);
AT(block, waited, BLOCK_WAITED);
AT(block, believes, BLOCK_BELIEVES);
AT(block, outputs, BLOCK_OUTPUTS);
AT(block, twins, BLOCK_TWINS_AT);
AT(block, back, BLOCK_BACK);
AT(block, returning, BLOCK_RETURNING);
AT(block, names, BLOCK_NAMES);
_Static_assert(sizeof(struct name) == BLOCK_NAME_WORDS * 8, "name");
_Static_assert(sizeof(struct twin) == BLOCK_TWIN_BYTES, "twin");
_Static_assert(sizeof(struct block) == BLOCK_BYTES, "block");
AT(record, size, RECORD_SIZE);
AT(record, number, RECORD_NUMBER);
AT(record, captures, RECORD_CAPTURES);
AT(record, start, RECORD_START);
AT(record, end, RECORD_END);
AT(record, result, RECORD_RESULT);
AT(record, ip, RECORD_IP);
AT(record, sp, RECORD_SP);
AT(record, args, RECORD_ARGS);
_Static_assert(sizeof(struct record) == RECORD_BYTES, "record");
AT(capture, addr, CAPTURE_ADDR);
AT(capture, wanted, CAPTURE_WANTED);
AT(capture, length, CAPTURE_LENGTH);
AT(capture, slot, CAPTURE_SLOT);
AT(capture, side, CAPTURE_SIDE);
AT(capture, status, CAPTURE_STATUS);
_Static_assert(sizeof(struct capture) == CAPTURE_BYTES, "capture");
AT(row, kind, TABLE_KIND);
AT(row, count, TABLE_COUNT);
AT(row, fds, TABLE_FDS);
AT(row, sink, TABLE_SINK);
AT(row, waits, TABLE_WAITS);
AT(row, pointers, TABLE_FIRST);
_Static_assert(sizeof(struct pointer) == TABLE_CAPTURE_BYTES, "pointer");
_Static_assert(sizeof(struct row) == TABLE_ROW_BYTES, "row");
_Static_assert(SITE_AFTER == 0 && SITE_TRAP == 8 && SITE_IP == 16 && SITE_ENTRY == 24 && SITE_KIND == 32, "site");

i64 agent_call(const struct frame *frame);
i64 agent_own_call(u64 number, u64 first, u64 second, u64 third, u64 fourth);
i64 agent_own_mapping(u64 number, u64 first, u64 second, u64 third, u64 fourth, u64 fifth);
_Noreturn void agent_return(const void *context);
u64 agent_copy(void *to, u64 from, u64 length);
i64 agent_copy_string(void *to, u64 from, u64 most);

enum { SIDE_IN, SIDE_OUT };
enum { WHOLE, TRUNCATED, UNREADABLE, OMITTED };
enum { NR_READ = 0, NR_WRITE = 1, NR_OPEN = 2, NR_FSTAT = 5, NR_POLL = 7, NR_MMAP = 9, NR_MUNMAP = 11, NR_READV = 19,
       NR_MREMAP = 25, NR_SENDTO = 44, NR_RECVFROM = 45,
       NR_SENDMSG = 46, NR_RECVMSG = 47, NR_GETSOCKNAME = 51, NR_FCNTL = 72,
       NR_RENAME = 82, NR_READLINK = 89, NR_RT_SIGPENDING = 127, NR_ARCH_PRCTL = 158, NR_CLOCK_GETTIME = 228, NR_EPOLL_WAIT = 232, NR_OPENAT = 257,
       NR_NEWFSTATAT = 262, NR_EPOLL_PWAIT = 281, NR_RENAMEAT2 = 316, NR_OPENAT2 = 437 };
enum { CLOCK_MONOTONIC = 1 };
enum { AT_FDCWD = -100 };
enum { ENOENT = 2, EINTR = 4, EBADF = 9, EACCES = 13, EFAULT = 14, ENOTDIR = 20, ENOSYS = 38 };
/* MAP_FIXED and MAP_FIXED_NOREPLACE */
enum { MAP_AT_ADDRESS = 0x100010, MAP_ANONYMOUS = 0x20 };
/* What is known of a descriptor: a struct stat, and a name of at most a page. */
enum { STAT_BYTES = 144, NAME_BYTES = 4096 };

static const u8 *const indexes = (const u8 *)RING_TABLE;
static const struct row *const rows = (const struct row *)(RING_TABLE + TABLE_NUMBERS);
static u8 *const known = (u8 *)RING_KNOWN;

#define FENCE() __asm__ volatile("" ::: "memory")

static inline u64 counter(void)
{
	u32 low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

static inline int has(int fd, u8 bit)
{
	return fd >= 0 && fd < RING_KNOWN_BYTES && known[fd] & bit;
}

/* A set of files, by device and inode in a struct stat. The engine adds to them at the same time. */
static inline u64 bit_of(const u8 *facts)
{
	const u64 *words = (const u64 *)facts;
	return (words[1] * FILES_INODE_FACTOR ^ words[0] * FILES_DEVICE_FACTOR) >> FILES_SHIFT;
}

static inline int has_file(const u64 *files, const u8 *facts)
{
	u64 bit = bit_of(facts);
	return *(volatile const u64 *)&files[bit / 64] >> bit % 64 & 1;
}

static inline void add_file(u64 *files, const u8 *facts)
{
	u64 bit = bit_of(facts);
	__atomic_fetch_or(&files[bit / 64], 1ull << bit % 64, __ATOMIC_SEQ_CST);
}

/* Whether the engine knows what a descriptor stands for, or it is none. */
static inline int is_known(int fd)
{
	return fd < 0 || (fd < RING_KNOWN_BYTES && known[fd]);
}

static inline int is_in(const struct part *parts, u32 count, u64 addr, u64 length)
{
	for (u32 i = 0; i < count; i++)
		if (addr < parts[i].end && parts[i].start < addr + length)
			return 1;
	return 0;
}

/* Whether memory is where there are jumps to the agent in the program's code. */
static inline int is_code(const struct block *block, u64 addr, u64 length)
{
	return is_in(block->code, BLOCK_CODE_PARTS, addr, length);
}

/* Whether memory is where the kernel must not touch it. The first part is there if any is. */
static inline int is_guarded(const struct block *block, u64 addr, u64 length)
{
	return block->guarded[0].end && is_in(block->guarded, BLOCK_GUARDED_PARTS, addr, length);
}

/* Whether a range of memory has part of the agent's pages. */
static inline int is_ours(u64 addr, u64 length)
{
	return addr < RING_RESERVED_END && (addr >= RING_BASE || length > RING_BASE - addr);
}

#endif
