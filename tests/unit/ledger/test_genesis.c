#include "tests/lib/unit.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/hash.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode.h"
#include "tests/lib/samples.h"

static void test_quorums(void **state)
{
    (void)state;
    static const struct {
        uint32_t n, b, k;
        bool live;
    } rows[] = {{3, 0, 2, true}, {3, 1, 3, false}, {4, 0, 3, true}, {4, 1, 3, true}, {5, 1, 4, true},
                {5, 2, 4, false}, {7, 1, 5, true}, {7, 2, 5, true}, {7, 3, 6, false}, {15, 4, 10, true},
                {15, 7, 12, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(genesis_quorum(rows[i].n, rows[i].b), rows[i].k);
        assert_int_equal(genesis_live(rows[i].n, rows[i].b), rows[i].live);
        /* any two quorums share an honest node */
        assert_true(2 * rows[i].k - rows[i].n > rows[i].b && rows[i].k <= rows[i].n);
    }
    static const uint32_t defaults[] = {[3] = 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4};
    static_assert(sizeof defaults / sizeof defaults[0] == LIMIT_NODES + 1, "one for each size");
    for (uint32_t n = 3; n <= LIMIT_NODES; n++) {
        assert_int_equal(genesis_default_faulty(n), defaults[n]);
        assert_true(genesis_live(n, defaults[n]));
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint32_t n = 3; n <= LIMIT_NODES; n++) {
        struct genesis made, parsed;
        struct buffer text = {0}, again = {0};
        struct digest hash;
        char hex[65];
        sample_genesis(&made, n, genesis_default_faulty(n));
        assert_int_equal(genesis_format(&text, &made, NULL), OK);
        assert_int_equal(genesis_parse(&parsed, buffer_bytes(&text), NULL), OK);
        assert_int_equal(parsed.member_count, n);
        assert_int_equal(parsed.quorum, genesis_quorum(n, made.faulty));
        assert_memory_equal(parsed.members, made.members, n * sizeof made.members[0]);
        assert_memory_equal(parsed.admins, made.admins, sizeof made.admins);
        assert_true(bytes_equal(parsed.policy, made.policy));
        hash_sha256(&hash, text.data, text.size);
        assert_memory_equal(&hash, &parsed.cluster, sizeof hash);
        hex_format(hex, hash.bytes, 32);
        assert_memory_equal(parsed.checkpoint_origin, "consilium/north-region/", 23);
        assert_memory_equal(parsed.checkpoint_origin + 23, hex, 16);
        assert_int_equal(strlen(parsed.checkpoint_origin), 39);
        assert_int_equal(genesis_format(&again, &parsed, NULL), OK);
        assert_true(bytes_equal(buffer_bytes(&text), buffer_bytes(&again)));
        buffer_free(&text);
        buffer_free(&again);
    }
}

static void test_members(void **state)
{
    (void)state;
    struct genesis g;
    struct buffer text = {0};
    sample_genesis_parsed(&g, &text, 4, 1);
    assert_null(genesis_member(&g, 0));
    assert_null(genesis_member(&g, 5));
    for (uint32_t i = 1; i <= 4; i++) {
        const struct descriptor *m = genesis_member(&g, i);
        struct id id = id_of_key(&m->keys.message);
        assert_true(id_equal(&m->id, &id));
        assert_int_equal(genesis_member_by_id(&g, &id), i);
        assert_int_equal(genesis_member_by_name(&g, m->name), i);
    }
    struct id stranger = sample_id(1);
    assert_int_equal(genesis_member_by_id(&g, &stranger), 0);
    assert_int_equal(genesis_member_by_name(&g, "node-5"), 0);
    buffer_free(&text);
}

#define REFUSED(code, word, change)                                                                \
    do {                                                                                           \
        struct genesis g;                                                                          \
        struct failure f = {0};                                                                    \
        struct buffer out = {0};                                                                   \
        sample_genesis(&g, 4, 1);                                                                  \
        change;                                                                                    \
        assert_int_equal(genesis_format(&out, &g, &f), code);                                      \
        if (!strstr(f.text, word)) printf("%s\n", f.text);                                         \
        assert_non_null(strstr(f.text, word));                                                     \
        assert_int_equal(out.size, 0);                                                             \
        buffer_free(&out);                                                                         \
    } while (0)

static void test_what_is_refused(void **state)
{
    (void)state;
    static uint8_t large[LIMIT_POLICY + 1];
    memset(large, '\n', sizeof large);
    REFUSED(ERR_INVALID, "at least 3", g.member_count = 2);
    REFUSED(ERR_INVALID, "fewer than half", g.faulty = 2);
    REFUSED(ERR_INVALID, "fewer than half", (g.member_count = 3, g.faulty = 2));
    REFUSED(ERR_INVALID, "no first administrator", g.admin_count = 0);
    REFUSED(ERR_TOO_LARGE, "administrators", g.admin_count = LIMIT_ADMINS + 1);
    REFUSED(ERR_TOO_LARGE, "members", g.member_count = LIMIT_NODES + 1);
    REFUSED(ERR_INVALID, "approvals", g.approvals = 0);
    REFUSED(ERR_INVALID, "approvals", g.approvals = 3);
    REFUSED(ERR_INVALID, "origin", g.origin[0] = '\0');
    REFUSED(ERR_INVALID, "origin", strcpy(g.origin, "has space"));
    REFUSED(ERR_INVALID, "origin", strcpy(g.origin, "/start"));
    REFUSED(ERR_INVALID, "origin", strcpy(g.origin, "end/"));
    REFUSED(ERR_INVALID, "origin", strcpy(g.origin, "a//b"));
    REFUSED(ERR_INVALID, "origin", strcpy(g.origin, "a+b"));
    REFUSED(ERR_INVALID, "same name", strcpy(g.members[2].name, "node-1"));
    REFUSED(ERR_INVALID, "same address", strcpy(g.members[2].address, g.members[1].address));
    REFUSED(ERR_INVALID, "same sealing key", g.members[2].keys.seal = g.members[0].keys.seal);
    REFUSED(ERR_INVALID, "same TLS key", g.members[3].tls_pin = g.members[0].tls_pin);
    REFUSED(ERR_INVALID, "signing key", g.members[2].keys.message = g.members[0].keys.message);
    REFUSED(ERR_INVALID, "signing key", g.members[2].keys.cosign = g.members[2].keys.message);
    REFUSED(ERR_INVALID, "administrator 2", g.admins[1] = g.admins[0]);
    REFUSED(ERR_INVALID, "administrator 1", g.admins[0].key = g.members[1].keys.cosign);
    REFUSED(ERR_INVALID, "name", strcpy(g.members[0].name, "Upper"));
    REFUSED(ERR_INVALID, "name", strcpy(g.members[0].name, "-dash"));
    REFUSED(ERR_INVALID, "name", g.members[0].name[0] = '\0');
    REFUSED(ERR_INVALID, "hospital", strcpy(g.members[0].hospital, "a \"b\""));
    REFUSED(ERR_INVALID, "hospital", g.members[0].hospital[0] = '\0');
    REFUSED(ERR_INVALID, "address", strcpy(g.members[0].address, "nohost"));
    REFUSED(ERR_INVALID, "address", strcpy(g.members[0].address, "h:0"));
    REFUSED(ERR_INVALID, "address", strcpy(g.members[0].address, "h:65536"));
    REFUSED(ERR_INVALID, "address", strcpy(g.members[0].address, ":7700"));
    REFUSED(ERR_INVALID, "address", strcpy(g.members[0].address, "fd00::1:7700"));
    REFUSED(ERR_INVALID, "address", strcpy(g.members[0].address, "[]:7700"));
    REFUSED(ERR_INVALID, "policy", g.policy = bytes_text("no newline"));
    REFUSED(ERR_INVALID, "policy", g.policy = bytes_text(""));
    REFUSED(ERR_INVALID, "policy", g.policy = bytes_text("bad\r\n"));
    REFUSED(ERR_TOO_LARGE, "policy", g.policy = BYTES(large));
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"10.0.0.4:7001", "[fd00::4]:7001", "node-1.example.org:1", "localhost:65535"};
    for (size_t i = 0; i < 4; i++) {
        struct genesis g;
        sample_genesis(&g, 4, 1);
        snprintf(g.members[0].address, sizeof g.members[0].address, "%s", good[i]);
        assert_int_equal(genesis_check(&g, NULL), OK);
    }
}

/* Replaces the first occurrence of `from`; what the parser says must name the line. */
static void parse_with(const char *from, const char *to, enum err code, const char *says)
{
    struct genesis g;
    struct failure f = {0};
    struct buffer text = {0}, changed = {0};
    sample_genesis_parsed(&g, &text, 4, 1);
    const uint8_t *at = memmem(text.data, text.size, from, strlen(from));
    assert_non_null(at);
    size_t before = (size_t)(at - text.data);
    buffer_append(&changed, text.data, before);
    buffer_append_text(&changed, to);
    buffer_append(&changed, at + strlen(from), text.size - before - strlen(from));
    assert_int_equal(genesis_parse(&g, buffer_bytes(&changed), &f), code);
    if (!strstr(f.text, says)) printf("%s\n", f.text);
    assert_non_null(strstr(f.text, says));
    buffer_free(&text);
    buffer_free(&changed);
}

static void test_errors_name_the_line(void **state)
{
    (void)state;
    parse_with("consilium-genesis/1", "consilium-genesis/2", ERR_VERSION, "line 1");
    parse_with("consilium-genesis/1", "hello", ERR_SYNTAX, "line 1");
    parse_with("origin ", "Origin ", ERR_SYNTAX, "line 2: expected 'origin");
    parse_with("origin consilium", "origin a\x1b", ERR_SYNTAX, "line 2");
    parse_with("faulty 1", "faulty 01", ERR_SYNTAX, "line 3");
    parse_with("faulty 1", "faulty one", ERR_SYNTAX, "line 3");
    parse_with("faulty 1", "faulty 9999", ERR_SYNTAX, "line 3");
    parse_with("faulty 1\n", "", ERR_SYNTAX, "line 3");
    parse_with("approvals 1", "approvals ", ERR_SYNTAX, "line 4");
    parse_with("member consilium-node/1", "member consilium-node/2", ERR_VERSION, "line 5: member");
    parse_with("member consilium-node/1", "member node", ERR_SYNTAX, "line 5: member");
    parse_with("node-2 \"Hospital 2\"", "node-2 Hospital", ERR_SYNTAX, "line 6: member");
    parse_with("node-2 \"", "Node-2 \"", ERR_SYNTAX, "line 6: member: name 'Node-2'");
    parse_with("node-2 \"", "n\x1b]0;x\a \"", ERR_SYNTAX, "line 6: member"); /* nothing for a terminal to obey */
    parse_with("10.0.0.3:7700", "10.0.0.3", ERR_SYNTAX, "line 7: member: address");
    parse_with("member ", "node ", ERR_SYNTAX, "line 5: expected 'member");
    parse_with("admin ", "admin  ", ERR_SYNTAX, "line 9: admin");
    parse_with("admin ", "admin AAAA", ERR_SYNTAX, "line 9: admin");
    parse_with("policy\n", "policy \n", ERR_SYNTAX, "line 11: expected");
    parse_with("policy\n", "", ERR_SYNTAX, "line 11: expected");
}

static void test_order_and_ends(void **state)
{
    (void)state;
    struct genesis g;
    struct failure f;
    struct buffer text = {0}, cut = {0};
    sample_genesis_parsed(&g, &text, 3, 0);
    /* a member after an administrator */
    const uint8_t *admin = memmem(text.data, text.size, "admin ", 6);
    const uint8_t *member = memmem(text.data, text.size, "member ", 7);
    const uint8_t *member_end = memchr(member, '\n', 1000), *admin_end = memchr(admin, '\n', 1000);
    buffer_append(&cut, text.data, (size_t)(member - text.data));
    buffer_append(&cut, member_end + 1, (size_t)(admin_end - member_end));
    buffer_append(&cut, member, (size_t)(member_end + 1 - member));
    buffer_append(&cut, admin_end + 1, (size_t)(text.data + text.size - admin_end - 1));
    assert_int_equal(cut.size, text.size);
    assert_int_equal(genesis_parse(&g, buffer_bytes(&cut), &f), ERR_SYNTAX);
    assert_non_null(strstr(f.text, "members come before"));
    /* cut before the policy */
    assert_int_equal(genesis_parse(&g, bytes_of(text.data, (size_t)(admin_end + 1 - text.data)), &f), ERR_SYNTAX);
    assert_non_null(strstr(f.text, "ends before 'policy'"));
    assert_int_equal(genesis_parse(&g, (struct bytes){0}, &f), ERR_SYNTAX);
    uint8_t *huge = calloc(1, LIMIT_GENESIS + 1);
    assert_int_equal(genesis_parse(&g, bytes_of(huge, LIMIT_GENESIS + 1), &f), ERR_TOO_LARGE);
    free(huge);
    buffer_free(&cut);
    buffer_free(&text);
}

static void test_descriptor(void **state)
{
    (void)state;
    struct genesis g;
    struct descriptor d;
    struct failure f;
    struct buffer line = {0};
    sample_genesis(&g, 3, 0);
    snprintf(g.members[0].hospital, sizeof g.members[0].hospital, "Spital Z\xc3\xbcrich, Haus 2");
    descriptor_format(&line, &g.members[0]);
    assert_int_equal(descriptor_parse(&d, buffer_bytes(&line), &f), OK);
    assert_memory_equal(&d, &g.members[0], sizeof d);
    struct mutants m = mutate(recode_descriptor, buffer_bytes(&line));
    assert_true(m.accepted > 0 && m.accepted < m.tried);
    buffer_append_text(&line, "\n");
    assert_int_equal(descriptor_parse(&d, buffer_bytes(&line), &f), OK);
    buffer_append_text(&line, "\n");
    assert_int_equal(descriptor_parse(&d, buffer_bytes(&line), &f), ERR_SYNTAX);
    line.size -= 2;
    uint8_t *colon = memchr(line.data, ':', line.size); /* of its address */
    assert_non_null(colon);
    *colon = '-';
    f = (struct failure){0};
    assert_int_equal(descriptor_parse(&d, buffer_bytes(&line), &f), ERR_SYNTAX);
    assert_int_equal(f.code, ERR_SYNTAX);
    assert_non_null(strstr(f.text, "address"));
    buffer_free(&line);
}

static void test_mutations(void **state)
{
    (void)state;
    struct genesis g;
    struct buffer text = {0};
    sample_genesis_parsed(&g, &text, 3, 0);
    struct mutants m = mutate(recode_genesis, buffer_bytes(&text));
    assert_true(m.accepted > 0 && m.accepted < m.tried);
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorums),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_errors_name_the_line),
        cmocka_unit_test(test_order_and_ends),
        cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
