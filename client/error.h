/*
 * The sentence that shardcask_error() returns: one for each thread, of its last failed call.
 */
#ifndef SC_CLIENT_ERROR_H
#define SC_CLIENT_ERROR_H

#include "common/status.h"

/* Remembers a sentence for the calling thread and returns `status`. NULL or empty: the status in
 * words. SC_OK is returned and changes nothing. */
int sc_error_set(int status, const char *why);

/* Room for a sentence of the calling thread, SC_WHY_SIZE bytes: to be passed as `why` to a function
 * of common, whose failure then is the thread's last error. */
char *sc_error_room(void);

#endif
