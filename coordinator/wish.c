#include "coordinator/wish.h"

#include "common/msg.h"

#include <stdlib.h>

struct sc_wish {
    LIST_ENTRY(sc_wish) next; /* in fleet->wishes */
    struct sc_sp_origin origin;
    void (*tell)(void *arg, const struct sc_sp_origin *origin);
    void *arg;
};

void sc_wish_answer(const struct sc_sp_origin *origin, enum sc_status status, const char *why)
{
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, (int)status, status == SC_OK ? NULL : why);
    sc_sp_reply_end(origin);
}

static void on_recorded(void *arg, enum sc_status status, const char *why)
{
    struct sc_wish *wish = arg;
    if (status == SC_OK && wish->tell != NULL) {
        wish->tell(wish->arg, &wish->origin);
    } else if (status == SC_INTERNAL) {
        sc_wish_answer(&wish->origin, SC_BUSY, "the map has just been changed: try again");
    } else {
        sc_wish_answer(&wish->origin, status, why);
    }
    LIST_REMOVE(wish, next);
    free(wish);
}

void sc_wish_forget_all(struct sc_fleet *fleet)
{
    struct sc_wish *wish = LIST_FIRST(&fleet->wishes);
    while (wish != NULL) {
        struct sc_wish *next = LIST_NEXT(wish, next);
        free(wish);
        wish = next;
    }
    LIST_INIT(&fleet->wishes);
}

void sc_wish_record(struct sc_fleet *fleet, const struct sc_change *change,
                    const struct sc_sp_origin *origin,
                    void (*tell)(void *arg, const struct sc_sp_origin *origin), void *arg)
{
    struct sc_wish *wish = sc_calloc(1, sizeof *wish);
    *wish = (struct sc_wish){.origin = *origin, .tell = tell, .arg = arg};
    LIST_INSERT_HEAD(&fleet->wishes, wish, next);
    sc_fleet_record(fleet, change, on_recorded, wish);
}
