#include "cli/leaf_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ledger/leaf.h"

static void decision_words(char *out, size_t size, const struct leaf *leaf)
{
    if (leaf->decision == DECISION_APPROVED)
        snprintf(out, size, "approved");
    else
        snprintf(out, size, "denied (%u: %s)", (unsigned)leaf->reason, reason_text((enum reason)leaf->reason));
}

static void subject_words(char *out, size_t size, const struct id *subject)
{
    char text[ID_TEXT_SIZE];
    id_format(text, subject);
    snprintf(out, size, "%s%s", id_is_zero(subject) ? "" : " about ", id_is_zero(subject) ? "" : text);
}

static void operation_words(char *out, size_t size, const struct leaf *leaf)
{
    char actor[ID_TEXT_SIZE], subject[ID_TEXT_SIZE + 8], issued[CLOCK_TEXT_SIZE];
    id_format(actor, &leaf->operation.actor.id);
    subject_words(subject, sizeof subject, &leaf->subject);
    clock_format(issued, leaf->operation.issued_at_ms);
    snprintf(out, size, "%s by %s%s, asked for at %s", action_name((enum action)leaf->operation.action), actor, subject,
             issued);
}

void leaf_words(char *out, size_t size, struct bytes bytes)
{
    struct leaf leaf;
    char what[200], decision[100];
    enum err e = leaf_decode(&leaf, bytes);
    if (e != OK) {
        snprintf(out, size, "%zu bytes that are no entry: %s", bytes.size, err_text(e));
    } else if (leaf.genesis.size > 0) {
        snprintf(out, size, "a genesis of %zu bytes", leaf.genesis.size);
    } else {
        operation_words(what, sizeof what, &leaf);
        decision_words(decision, sizeof decision, &leaf);
        snprintf(out, size, "%s, %s", what, decision);
    }
}

static void hash_words(char *out, size_t size, const char *what, const struct digest *hash)
{
    char hex[17];
    hex_format(hex, hash->bytes, 8);
    snprintf(out, size, "%s %s...", what, hex);
}

static void index_words(char *out, size_t size, const struct leaf *leaf)
{
    char what[200];
    operation_words(what, sizeof what, leaf);
    snprintf(out, size, "entry %" PRIu64 ": %s", leaf->index, what);
}

/* Of two leaves that decode and are no genesis: the first difference that explains the most. */
static bool field_difference(char *expected, char *found, size_t size, const struct leaf *a, const struct leaf *b)
{
    if (a->index != b->index) {
        index_words(expected, size, a);
        index_words(found, size, b);
    } else if (!bytes_equal(a->operation.raw, b->operation.raw)) {
        operation_words(expected, size, a);
        operation_words(found, size, b);
    } else if (a->decision != b->decision || a->reason != b->reason) {
        decision_words(expected, size, a);
        decision_words(found, size, b);
    } else if (!id_equal(&a->subject, &b->subject)) {
        operation_words(expected, size, a);
        operation_words(found, size, b);
    } else if (a->time_ms != b->time_ms) {
        clock_format(expected, a->time_ms);
        clock_format(found, b->time_ms);
    } else if (!digest_equal(&a->previous, &b->previous)) {
        hash_words(expected, size, "previous hash", &a->previous);
        hash_words(found, size, "previous hash", &b->previous);
    } else {
        return false; /* path or signature */
    }
    return strcmp(expected, found) != 0; /* of an operation's arguments these words say nothing */
}

void leaf_difference(char *expected, char *found, size_t size, struct bytes right, struct bytes wrong)
{
    struct leaf a, b;
    struct digest x, y;
    bool decoded = leaf_decode(&a, right) == OK && leaf_decode(&b, wrong) == OK;
    if (decoded && a.genesis.size == 0 && b.genesis.size == 0 && field_difference(expected, found, size, &a, &b))
        return;
    if (!decoded) {
        leaf_words(expected, size, right);
        leaf_words(found, size, wrong);
        return;
    }
    leaf_hash(&x, right);
    leaf_hash(&y, wrong);
    hash_words(expected, size, "hash", &x);
    hash_words(found, size, "hash", &y);
}
