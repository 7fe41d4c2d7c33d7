#include "client/error.h"

#include "client/shardcask.h"
#include "common/version.h"

#include <stdio.h>

/* The public values are the ones on the wire. */
#define PIN(ours, name) _Static_assert((int)(ours) == (int)(name), "status values must agree")
PIN(SHARDCASK_OK, SC_OK);
PIN(SHARDCASK_NOTFOUND, SC_NOTFOUND);
PIN(SHARDCASK_BADREQUEST, SC_BADREQUEST);
PIN(SHARDCASK_TOOLARGE, SC_TOOLARGE);
PIN(SHARDCASK_MISMATCH, SC_MISMATCH);
PIN(SHARDCASK_WRONGTYPE, SC_WRONGTYPE);
PIN(SHARDCASK_MOVED, SC_MOVED);
PIN(SHARDCASK_UNAVAILABLE, SC_UNAVAILABLE);
PIN(SHARDCASK_UNKNOWN, SC_UNKNOWN);
PIN(SHARDCASK_BUSY, SC_BUSY);
PIN(SHARDCASK_IO, SC_IO);
PIN(SHARDCASK_CORRUPT, SC_CORRUPT);
PIN(SHARDCASK_DENIED, SC_DENIED);
PIN(SHARDCASK_INTERNAL, SC_INTERNAL);
PIN(SHARDCASK_WHY_SIZE, SC_WHY_SIZE);
#undef PIN

static _Thread_local char last_error[SC_WHY_SIZE];

char *sc_error_room(void)
{
    return last_error;
}

int sc_error_set(int status, const char *why)
{
    if (status != SC_OK) {
        bool told = why != NULL && *why != '\0';
        (void)snprintf(last_error, sizeof last_error, "%s", told ? why : sc_status_str(status));
    }
    return status;
}

const char *shardcask_error(void)
{
    return last_error;
}

const char *shardcask_version(void)
{
    return SC_VERSION;
}

const char *shardcask_status_text(int status)
{
    return sc_status_str(status);
}
