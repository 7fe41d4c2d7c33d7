/* Two stores of one fleet, of which the first has all slots at the beginning, and short words for
 * moving slots between them. As with store.h, every helper aborts the test when something fails
 * that the test is not about. */
#ifndef SC_TESTS_SHARD_MOVE_PAIR_H
#define SC_TESTS_SHARD_MOVE_PAIR_H

#include "tests/shard/move_driver.h"

#define KEYS 200

extern struct fixture a, b; /* ends 0 and 1 of `d` */
extern struct move_driver d;
extern uint8_t all[SC_SLOT_COUNT / 8];
extern uint8_t none[SC_SLOT_COUNT / 8];
extern uint8_t odd[SC_SLOT_COUNT / 8]; /* every second slot */
extern uint8_t even[SC_SLOT_COUNT / 8];

/* The call succeeds. */
#define OK(call)                                                                              \
    do {                                                                                      \
        enum sc_status ok_status = (call);                                                    \
        ck_assert_msg(ok_status == SC_OK, "%s: %d %s; %s %s", #call, ok_status, d.why, a.why, \
                      b.why);                                                                 \
    } while (0)

void setup(void);
void teardown(void);

/* Call these instead of the fixture's. */
void open_end(unsigned end);
void close_end(unsigned end);
void kill_end(unsigned end); /* as fixture_kill */

/* ---- Keys ---- */

/* The key of a number, and one of its values; each function has one static buffer. */
const char *key_of(unsigned i);
const char *value_of(unsigned i, const char *generation);

/* Whether the key is in one of the slots `odd`. */
bool is_odd(const char *key);

/* Puts the keys of the numbers below KEYS. */
void put_all(struct fixture *f, const char *generation);

/* Of those the store has the keys of these slots, and no others. */
void expect_keys(struct fixture *f, const uint8_t *slots, const char *generation);

/* Moves every second slot from one end to the other. */
void move_odd(unsigned from, uint64_t move, uint64_t epoch);

#endif
