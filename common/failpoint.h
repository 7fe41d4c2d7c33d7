/*
 * Failpoints: named places, between durable steps or before a message leaves, at which a test does
 * harm to the process. They are always compiled in and off unless the environment says
 *
 *   SHARDCASK_FAILPOINT=point[,point...]     a point is name[:count[:action]]
 *
 * Each fires once, at the count-th passing (1 if left out). The actions:
 *
 *   kill     SIGKILL, as a crash would (if left out)
 *   stop     SIGSTOP; the test lets the process go on
 *   fail     whoever passes behaves as if the system call at hand had failed
 *   drop     the message at hand is not sent
 *   repeat   the message at hand is sent twice
 *   late     the message at hand is sent a while later
 *
 * The last four mean something only at places that ask for them.
 */
#ifndef SC_COMMON_FAILPOINT_H
#define SC_COMMON_FAILPOINT_H

enum sc_failpoint_action {
    SC_FAILPOINT_NONE,
    SC_FAILPOINT_KILL,
    SC_FAILPOINT_STOP,
    SC_FAILPOINT_FAIL,
    SC_FAILPOINT_DROP,
    SC_FAILPOINT_REPEAT,
    SC_FAILPOINT_LATE,
};

/* Reads the environment; called at start, and whenever a store is opened. While no other thread
 * works on what has failpoints. */
void sc_failpoint_init(void);

/* The place with this name is passed. Any thread. */
void sc_failpoint(const char *name);

/* The same for places that can do more than die: what to do now. */
enum sc_failpoint_action sc_failpoint_action(const char *name);

#endif
