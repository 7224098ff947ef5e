/* ledger/operation.h and ledger/arguments.h: whatever decodes comes back byte for byte. First byte
 *   0x99: the whole input is an operation (all of them begin so);
 *   else: the number of an action, and the rest its arguments, which an operation holds as they are. */
#include <string.h>

#include "tests/lib/recode.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

#define NINE_FIELDS 0x99

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(struct bytes part, const void *whole, size_t size)
{
    const uint8_t *start = whole;
    return part.size == 0 || (part.data >= start && part.data + part.size <= start + size);
}

/* The kind of actor, the name and the arguments of a number belong together. */
static void check_action(uint32_t action, enum err decoded)
{
    bool known = action_actor((enum action)action) != ACTOR_NONE;
    CHECK(known == (decoded != ERR_UNKNOWN_ACTION));
    if (known) CHECK(action_from_name(action_name((enum action)action)) == (int)action);
}

static enum err check_arguments(uint32_t action, struct bytes in)
{
    static struct arguments a;
    struct target target;
    struct buffer again = {0};
    enum err e = arguments_decode(&a, action, in);
    check_action(action, e);
    if (e != OK) return e;
    arguments_encode(&again, &a);
    CHECK(!again.failed && bytes_equal(buffer_bytes(&again), in));
    arguments_target(&target, &a);
    CHECK(is_within(target.object, &a, sizeof a) || is_within(target.object, in.data, in.size));
    CHECK(!target.object_is_text || text_valid(target.object));
    buffer_free(&again);
    return OK;
}

static void whole(struct bytes in)
{
    struct operation op;
    struct buffer out = {0};
    if (recode_operation(&out, in) == OK) {
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
        CHECK(operation_decode(&op, in) == OK && is_within(op.args, in.data, in.size));
        enum err e = check_arguments(op.action, op.args);
        fuzz_taken = e == OK || e == ERR_UNKNOWN_ACTION;
        int purpose = purpose_from_code(purpose_code(op.purpose));
        CHECK(purpose == op.purpose || purpose == -1);
    }
    buffer_free(&out);
}

static void of_action(uint32_t action, struct bytes in)
{
    struct operation op = sample_operation(1, 1, action, in), back;
    struct buffer out = {0};
    if (check_arguments(action, in) != OK) return;
    fuzz_taken = true;
    operation_encode(&out, &op);
    enum err e = operation_decode(&back, buffer_bytes(&out));
    CHECK(e == (out.size > LIMIT_OPERATION ? ERR_TOO_LARGE : OK));
    if (e == OK) CHECK(bytes_equal(back.args, in) && actor_equal(&back.actor, &op.actor));
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] == NINE_FIELDS)
        whole(bytes_of(data, size));
    else
        of_action(data[0], bytes_of(data + 1, size - 1));
    return 0;
}
