#include "crypto/dkg.h"

#include <string.h>

#include "base/check.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

static void check_threshold(uint32_t k) { CHECK(k >= 1 && k <= LIMIT_NODES); }

void dkg_polynomial_random(struct dkg_polynomial *out, uint32_t k)
{
    struct scalar constant;
    scalar_random(&constant);
    dkg_polynomial_with(out, k, &constant);
    secret_wipe(&constant, sizeof constant);
}

void dkg_polynomial_with(struct dkg_polynomial *out, uint32_t k, const struct scalar *constant)
{
    check_threshold(k);
    *out = (struct dkg_polynomial){.k = k};
    out->coefficients[0] = *constant;
    for (uint32_t j = 1; j < k; j++)
        scalar_random(&out->coefficients[j]);
}

void dkg_commit(struct dkg_commitments *out, const struct dkg_polynomial *polynomial)
{
    check_threshold(polynomial->k);
    *out = (struct dkg_commitments){.k = polynomial->k};
    for (uint32_t j = 0; j < out->k; j++)
        point_multiply_generator(&out->points[j], &polynomial->coefficients[j]);
}

void dkg_subshare(struct scalar *out, const struct dkg_polynomial *polynomial, uint32_t node)
{
    check_threshold(polynomial->k);
    CHECK(node >= 1); /* f(0) is the secret itself */
    const struct scalar x = scalar_from_uint(node);
    struct scalar value = polynomial->coefficients[polynomial->k - 1];
    for (uint32_t j = polynomial->k - 1; j-- > 0;) {
        scalar_multiply(&value, &value, &x);
        scalar_add(&value, &value, &polynomial->coefficients[j]);
    }
    *out = value;
    secret_wipe(&value, sizeof value);
}

static void hash_context(struct hash *h, const char *tag, struct bytes context)
{
    uint8_t size[4];
    CHECK(context.size <= UINT32_MAX);
    put_be32(size, (uint32_t)context.size);
    hash_start(h);
    hash_add(h, tag, strlen(tag));
    hash_add(h, size, sizeof size);
    hash_add(h, context.data, context.size);
}

struct digest dkg_commitments_hash(const struct dkg_commitments *commitments, struct bytes context)
{
    uint8_t k[4];
    struct hash h;
    struct digest out;
    check_threshold(commitments->k);
    put_be32(k, commitments->k);
    hash_context(&h, "consilium/dkg/commitments/v1\n", context);
    hash_add(&h, k, sizeof k);
    hash_add(&h, commitments->points, commitments->k * sizeof commitments->points[0]);
    hash_end(&out, &h);
    return out;
}

struct digest dkg_subshare_hash(const struct scalar *subshare, uint32_t node, struct bytes context)
{
    uint8_t index[4];
    struct hash h;
    struct digest out;
    put_be32(index, node);
    hash_context(&h, "consilium/dkg/subshare/v1\n", context);
    hash_add(&h, index, sizeof index);
    hash_add(&h, subshare->bytes, sizeof subshare->bytes);
    hash_end(&out, &h);
    return out;
}

void dkg_commitments_at(struct point *out, const struct dkg_commitments *commitments, uint32_t node)
{
    check_threshold(commitments->k);
    CHECK(node >= 1);
    const struct scalar x = scalar_from_uint(node);
    struct point value = commitments->points[commitments->k - 1];
    for (uint32_t j = commitments->k - 1; j-- > 0;) {
        point_multiply(&value, &x, &value);
        point_add(&value, &value, &commitments->points[j]);
    }
    *out = value;
}

enum err dkg_subshare_verify(const struct scalar *subshare, const struct dkg_commitments *commitments,
                             uint32_t node)
{
    struct point given, committed;
    point_multiply_generator(&given, subshare);
    dkg_commitments_at(&committed, commitments, node);
    return point_equal(&given, &committed) ? OK : ERR_BAD_SHARE;
}

void dkg_combine_subshares(struct scalar *share, const struct scalar *subshares, const struct scalar *weights,
                           size_t count)
{
    struct scalar sum = {{0}}, term;
    for (size_t i = 0; i < count; i++) {
        term = subshares[i];
        if (weights) scalar_multiply(&term, &term, &weights[i]);
        scalar_add(&sum, &sum, &term);
    }
    *share = sum;
    secret_wipe(&sum, sizeof sum);
    secret_wipe(&term, sizeof term);
}

enum err dkg_combine_commitments(struct dkg_commitments *out, const struct dkg_commitments *dealers,
                                 const struct scalar *weights, size_t count)
{
    CHECK(count >= 1);
    check_threshold(dealers[0].k);
    struct dkg_commitments sum = {.k = dealers[0].k};
    for (size_t i = 0; i < count; i++) {
        CHECK(dealers[i].k == sum.k);
        for (uint32_t j = 0; j < sum.k; j++) {
            struct point term = dealers[i].points[j];
            if (weights) point_multiply(&term, &weights[i], &term);
            point_add(&sum.points[j], &sum.points[j], &term);
        }
    }
    *out = sum;
    return point_is_identity(&sum.points[0]) ? ERR_BAD_POINT : OK;
}

enum err dkg_verification_keys(struct point *out, size_t n, const struct dkg_commitments *combined)
{
    CHECK(n >= 1 && n <= LIMIT_NODES);
    for (size_t i = 0; i < n; i++) {
        dkg_commitments_at(&out[i], combined, (uint32_t)i + 1);
        if (point_is_identity(&out[i])) return ERR_BAD_POINT;
    }
    return OK;
}

enum err dkg_reshare_check(const struct dkg_commitments *commitments, const struct point *old_verification_key)
{
    check_threshold(commitments->k);
    return point_equal(&commitments->points[0], old_verification_key) ? OK : ERR_BAD_PROOF;
}

enum err dkg_polynomial_encode(struct buffer *out, const struct dkg_polynomial *polynomial)
{
    check_threshold(polynomial->k);
    buffer_append(out, polynomial->coefficients, polynomial->k * sizeof polynomial->coefficients[0]);
    return out->failed ? ERR_TOO_LARGE : OK;
}

static enum err count_of(uint32_t *k, struct bytes in)
{
    if (in.size == 0 || in.size % 32 || in.size / 32 > LIMIT_NODES) return ERR_MALFORMED;
    *k = (uint32_t)(in.size / 32);
    return OK;
}

enum err dkg_polynomial_decode(struct dkg_polynomial *out, struct bytes in)
{
    *out = (struct dkg_polynomial){0};
    enum err e = count_of(&out->k, in);
    for (uint32_t j = 0; e == OK && j < out->k; j++)
        e = scalar_decode(&out->coefficients[j], in.data + (size_t)32 * j);
    if (e != OK) secret_wipe(out, sizeof *out);
    return e;
}

enum err dkg_commitments_encode(struct buffer *out, const struct dkg_commitments *commitments)
{
    check_threshold(commitments->k);
    buffer_append(out, commitments->points, commitments->k * sizeof commitments->points[0]);
    return out->failed ? ERR_TOO_LARGE : OK;
}

enum err dkg_commitments_decode(struct dkg_commitments *out, uint32_t k, struct bytes in)
{
    struct dkg_commitments c = {0};
    enum err e = count_of(&c.k, in);
    if (e == OK && c.k != k) e = ERR_MALFORMED;
    for (uint32_t j = 0; e == OK && j < c.k; j++)
        e = point_decode_not_identity(&c.points[j], in.data + (size_t)32 * j);
    if (e == OK) *out = c;
    return e;
}
