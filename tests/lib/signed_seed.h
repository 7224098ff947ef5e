/* What nobody can guess, for fuzz targets: requests that are signed, by fixed keys. The input chooses the operations,
 * then which bytes are changed. Header-only. */
#ifndef TESTS_LIB_SIGNED_SEED_H
#define TESTS_LIB_SIGNED_SEED_H

#include <string.h>

#include "base/check.h"
#include "tests/lib/samples.h"

struct seed_input {
    const uint8_t *at, *end;
};

/* 0 behind the end. */
static inline uint8_t seed_take(struct seed_input *in) { return in->at < in->end ? *in->at++ : 0; }
static inline size_t seed_take16(struct seed_input *in)
{
    size_t high = seed_take(in);
    return high << 8 | seed_take(in);
}
static inline size_t seed_left(const struct seed_input *in) { return (size_t)(in->end - in->at); }

/* One that has arguments of its own or none at all: any but genesis. */
static inline uint32_t seed_action(uint8_t choice)
{
    static const uint32_t actions[] = {
#define X(name, number, permission, actor) number,
        ACTION_LIST(X)
#undef X
    };
    return actions[1 + choice % (sizeof actions / sizeof actions[0] - 1)]; /* genesis is the first */
}

/* sample_arguments, encoded: made once each, for there are keys in some. */
static inline struct bytes seed_arguments(uint32_t action, bool full)
{
    static struct buffer made[128][2];
    struct buffer *out = &made[action % 128][full];
    static struct arguments a;
    if (out->size == 0) {
        CHECK(sample_arguments(&a, action, full));
        arguments_encode(out, &a);
    }
    return buffer_bytes(out);
}

/* sample_key, of few users. */
#define SEED_USERS 16
struct seed_user {
    bool made;
    struct sign_secret secret;
    struct sign_public key;
};
static inline const struct seed_user *seed_user(unsigned n)
{
    static struct seed_user users[SEED_USERS];
    struct seed_user *user = &users[n % SEED_USERS];
    if (!user->made) sample_key(&user->secret, &user->key, n % SEED_USERS);
    user->made = true;
    return user;
}

/* Some bytes as an attachment, or none. */
static inline void seed_attachment(struct buffer *out, uint8_t choice)
{
    uint8_t salt[ATTACHMENT_SALT] = {choice}, content[32];
    memset(content, choice, sizeof content);
    if (choice % 2) attachment_encode(out, salt, bytes_of(content, choice % sizeof content));
}

/* A request of up to four operations (64, if `many`) by that user: each takes two bytes, what is done and how full, and
 * the attachment. Its key is seed_user(user)->key. */
static inline void seed_request(struct buffer *out, struct seed_input *in, unsigned user, bool many)
{
    static struct request_builder builder;
    uint32_t count = 1 + seed_take(in) % (many ? LIMIT_OPERATIONS : 4);
    struct operation op = sample_operation(user, 0, 0, (struct bytes){0});
    for (uint32_t i = 0; i < count; i++) {
        struct buffer attachment = {0};
        uint8_t what = seed_take(in), with = seed_take(in);
        seed_attachment(&attachment, with);
        op.request_id = sample_id(1000 + i);
        op.action = seed_action(what & 0x7f);
        op.args = seed_arguments(op.action, what & 0x80);
        op.purpose = with;
        CHECK(request_builder_add(&builder, &op, buffer_bytes(&attachment)) == OK);
        buffer_free(&attachment);
    }
    CHECK(request_builder_sign(out, &builder, &seed_user(user)->secret) == OK);
    request_builder_free(&builder);
}

/* What is left of the input: where (two bytes), what is xored; then it may be cut. False: nothing is different. */
static inline bool seed_change(struct buffer *out, struct seed_input *in)
{
    struct buffer before = {0};
    buffer_append_bytes(&before, buffer_bytes(out));
    while (seed_left(in) >= 3 && out->size > 0) {
        size_t where = seed_take16(in) % out->size;
        out->data[where] ^= seed_take(in);
    }
    if (seed_left(in) == 2) out->size -= seed_take16(in) % (out->size + 1);
    bool different = !bytes_equal(buffer_bytes(&before), buffer_bytes(out));
    buffer_free(&before);
    return different;
}

#endif
