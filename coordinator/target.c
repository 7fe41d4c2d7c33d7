#include "coordinator/target.h"

#include "common/msg.h"
#include "coordinator/gather.h"

const struct sc_sp_origin *sc_target_origin(const struct sc_target *target)
{
    return target->gather != NULL ? sc_gather_origin(target->gather) : &target->origin;
}

void sc_target_answer(const struct sc_target *target, struct sc_slice reply)
{
    if (target->gather != NULL) {
        sc_gather_put(target->gather, target->index, reply);
    } else {
        sc_sp_reply(&target->origin, reply);
    }
}

void sc_target_answer_status(const struct sc_target *target, enum sc_status status, const char *why)
{
    struct sc_buf reply = {0};
    sc_msg_reply_status(&reply, status, why);
    sc_target_answer(target, sc_buf_slice(&reply));
    sc_buf_fini(&reply);
}
