/* A shard whose records are not in memory, and short words for what a client asks of it. Every
 * helper aborts the test when something fails that the test is not about. */
#ifndef SC_TESTS_SHARD_COLD_SERVICE_H
#define SC_TESTS_SHARD_COLD_SERVICE_H

#include "tests/caller.h"

#define MESSAGE_MAX (8u << 20)

extern char url[128]; /* of the shard */
extern struct caller caller;
extern struct sc_buf request; /* that is sent next */
extern struct call call; /* of what was asked last */

void setup(void);
void teardown(void); /* closes the service if it is open */

void close_service(void);

/* Waits until what was sent before has arrived. */
void wait_arrived(void);

/* Waits until so many reads are held. */
void wait_held(unsigned count);

/* ---- Requests ---- */

/* A string as a value, in a static buffer. */
struct sc_slice encoded(const char *text);

/* Each appends to `request`. */
void put_get(const char *key);
void put_put(const char *key, const char *value);
void put_incr(const char *key);
void put_batch(enum sc_op op, uint32_t count); /* its items follow */

/* Sends `request`. */
void start(struct call *started);

/* Sends it and waits; the status is returned, the reply is in `call`. */
int ask(void);
int ask_put(const char *key, const char *value);

/* ---- Replies ---- */

void expect_str(struct sc_mp *mp, const char *expected);

/* The value of a get. */
void expect_value(struct call *ended, const char *expected);

/* Waits for the reply of a batch, whose items are taken one by one. */
void expect_items(struct call *ended, uint32_t expected);

/* Sends what is in `request`, a batch; its replies are to be taken from `call`. */
void ask_items(uint32_t expected);

/* Takes the next reply of a batch; returns its status and leaves the cursor behind it. */
int next_item(struct call *ended, struct sc_mp *result);
void expect_item_str(struct call *ended, const char *expected);
void expect_item_int(struct call *ended, int64_t expected);
void expect_item_status(struct call *ended, int expected);

#endif
