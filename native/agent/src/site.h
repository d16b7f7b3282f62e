/* What a trampoline says of its site: `site` in native/format/src/ring.rs. */
#include "ring.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

/* A layout is the one of the contract. */
#define AT(type, member, offset) _Static_assert(__builtin_offsetof(struct type, member) == (offset), #type "." #member)

/* The address behind the program's own instruction. */
static inline u64 ip_of(const u64 *site)
{
	return (u64)site + site[SITE_IP / 8];
}
