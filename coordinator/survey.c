#include "coordinator/survey.h"

#include <stdlib.h>

/* A question on its way. */
struct question {
    struct sc_backend_call call; /* must be first */
    struct sc_survey *survey;
    uint32_t shard_id;
    void (*done)(void *arg, bool told);
    void *arg;
};

struct sc_survey *sc_survey_alloc(struct sc_fleet *fleet)
{
    struct sc_survey *survey = sc_calloc(1, sizeof *survey);
    survey->fleet = fleet;
    return survey;
}

void sc_survey_free(struct sc_survey *survey)
{
    free(survey);
}

static void mark(struct sc_survey *survey, uint32_t shard_id, bool asked)
{
    const uint32_t *owner = survey->fleet->cluster.owner;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        survey->asked[slot] = owner[slot] == shard_id ? asked : survey->asked[slot];
    }
}

/* Slots that a shard does not name have nothing. */
static void forget(struct sc_survey *survey, uint32_t shard_id)
{
    const uint32_t *owner = survey->fleet->cluster.owner;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (owner[slot] == shard_id) {
            survey->keys[slot] = survey->bytes[slot] = 0;
        }
    }
}

static bool read(struct sc_survey *survey, uint32_t shard_id, struct sc_slice body)
{
    const uint32_t *owner = survey->fleet->cluster.owner;
    struct sc_msg_reply reply;
    struct sc_msg_slots part;
    uint32_t count = 0;
    if (!sc_msg_parse_reply(body, &reply) || reply.status != SC_OK ||
        !sc_msg_read_slots(&reply, &count)) {
        return false;
    }
    forget(survey, shard_id);
    for (; count > 0; count--) {
        if (!sc_msg_next_slots(&reply, &part)) {
            return false;
        }
        uint32_t slots = part.last - part.first + 1;
        for (uint32_t slot = part.first; slot <= part.last; slot++) {
            if (owner[slot] == shard_id) {
                survey->keys[slot] = part.keys / slots;
                survey->bytes[slot] = part.bytes / slots;
            }
        }
    }
    return true;
}

static void on_reply(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct question question = *(struct question *)call;
    free(call);
    bool told = status == SC_OK && read(question.survey, question.shard_id, body);
    if (!told) {
        mark(question.survey, question.shard_id, false);
    }
    question.done(question.arg, told);
}

void sc_survey_ask(struct sc_survey *survey, uint32_t shard_id, void (*done)(void *arg, bool told),
                   void *arg)
{
    struct question *question = sc_calloc(1, sizeof *question);
    struct sc_buf request = {0};
    *question = (struct question){{on_reply}, survey, shard_id, done, arg};
    mark(survey, shard_id, true);
    sc_msg_put_op(&request, SC_OP_X_SLOTS, 0);
    sc_backend_call(sc_fleet_backend(survey->fleet, shard_id), &question->call,
                    sc_buf_slice(&request));
    sc_buf_fini(&request);
}

static void on_wanted(void *arg, bool told)
{
    (void)arg;
    (void)told;
}

void sc_survey_want(struct sc_survey *survey, uint32_t slot)
{
    uint32_t shard_id = survey->fleet->cluster.owner[slot];
    const struct sc_backend *backend = sc_fleet_backend(survey->fleet, shard_id);
    /* None: the fleet is just being closed. */
    if (!survey->asked[slot] && backend != NULL && sc_backend_up(backend)) {
        sc_survey_ask(survey, shard_id, on_wanted, NULL);
    }
}
