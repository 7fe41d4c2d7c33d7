#include "common/sp_input.h"

#include <assert.h>
#include <stdlib.h>

void sc_sp_input_fini(struct sc_sp_input *input)
{
    free(input->data);
    *input = (struct sc_sp_input){0};
}

void sc_sp_input_consume(struct sc_sp_input *input, size_t size)
{
    assert(size <= input->end - input->begin);
    input->begin += size;
    if (input->begin == input->end) {
        input->begin = 0;
        input->end = 0;
    }
}

static void move_to_front(struct sc_sp_input *input)
{
    if (input->begin > 0) {
        memmove(input->data, input->data + input->begin, input->end - input->begin);
        input->end -= input->begin;
        input->begin = 0;
    }
}

static void resize(struct sc_sp_input *input, size_t capacity)
{
    assert(input->begin == 0 && capacity >= input->end);
    if (capacity != input->capacity) {
        input->data = sc_realloc(input->data, capacity);
        input->capacity = capacity;
        input->roomy = 0;
    }
}

static size_t grown(const struct sc_sp_input *input)
{
    size_t doubled = 2 * input->capacity;
    if (input->capacity < SC_SP_INPUT_STEP) {
        return SC_SP_INPUT_STEP;
    }
    if (input->end < input->capacity) {
        return input->capacity;
    }
    return input->need > input->end && input->need < doubled ? input->need : doubled;
}

static size_t shrunk(const struct sc_sp_input *input)
{
    size_t capacity = input->capacity;
    bool large = capacity > SC_SP_INPUT_LARGE && input->need <= SC_SP_INPUT_LARGE;
    size_t smaller = large ? SC_SP_INPUT_STEP : capacity / 4;
    if (smaller < SC_SP_INPUT_SMALL) {
        smaller = SC_SP_INPUT_SMALL;
    }
    bool fits = input->end < smaller && (large || input->need <= smaller);
    bool unused = large || input->roomy >= SC_SP_INPUT_PATIENCE;
    return fits && unused && smaller < capacity ? smaller : capacity;
}

uint8_t *sc_sp_input_room(struct sc_sp_input *input, size_t *room)
{
    move_to_front(input);
    if (input->capacity == 0) {
        resize(input, SC_SP_INPUT_SMALL);
    } else if (input->filled || input->end == input->capacity) {
        resize(input, grown(input));
    } else {
        resize(input, shrunk(input));
    }
    input->filled = false;
    *room = input->capacity - input->end;
    assert(*room > 0);
    return input->data + input->end;
}

void sc_sp_input_received(struct sc_sp_input *input, size_t size)
{
    assert(size <= input->capacity - input->end);
    input->end += size;
    input->filled = input->end == input->capacity;
    input->roomy = input->end <= input->capacity / 4 ? input->roomy + 1 : 0;
}

void sc_sp_input_trim(struct sc_sp_input *input)
{
    move_to_front(input);
    resize(input, input->end > SC_SP_INPUT_SMALL ? input->end : SC_SP_INPUT_SMALL);
}
