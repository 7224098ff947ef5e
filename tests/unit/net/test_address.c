#include <netinet/in.h>
#include <stdio.h>

#include "net/address.h"
#include "tests/lib/unit.h"

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        enum address_kind kind;
        uint16_t port;
        const char *again; /* NULL: the same */
    } good[] = {
        {"10.0.0.4:7001", "10.0.0.4", ADDRESS_IPV4, 7001, NULL},
        {"0.0.0.0:1", "0.0.0.0", ADDRESS_IPV4, 1, NULL},
        {"[::1]:65535", "::1", ADDRESS_IPV6, 65535, NULL},
        {"[FD00:0:0::4]:7001", "fd00::4", ADDRESS_IPV6, 7001, "[fd00::4]:7001"},
        {"node.example:7001", "node.example", ADDRESS_NAME, 7001, NULL},
        {"Node-1.Example:7001", "node-1.example", ADDRESS_NAME, 7001, "node-1.example:7001"},
        {"localhost:07001", "localhost", ADDRESS_NAME, 7001, "localhost:7001"},
        {"1and1.example:443", "1and1.example", ADDRESS_NAME, 443, NULL},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct address a;
        char text[ADDRESS_TEXT_SIZE];
        assert_int_equal(address_parse(&a, good[i].text, false, NULL), OK);
        assert_string_equal(a.host, good[i].host);
        assert_int_equal(a.kind, good[i].kind);
        assert_int_equal(a.port, good[i].port);
        address_format(text, &a);
        assert_string_equal(text, good[i].again ? good[i].again : good[i].text);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"", "no port"},
        {"10.0.0.4", "no port"},
        {":7001", "no host"},
        {"[]:7001", "no host"},
        {"[::1:7001", "lacks the ']'"},
        {"[::1]", "no port"},
        {"[::1]7001", "no port"},
        {"[10.0.0.4]:7001", "not an IPv6 address"},
        {"::1:7001", "brackets"},
        {"fd00::4:7001", "brackets"},
        {"10.0.0.4:", "not a port"},
        {"10.0.0.4:0", "not a port from 1 to 65535"},
        {"10.0.0.4:65536", "not a port"},
        {"10.0.0.4:-1", "not a port"},
        {"10.0.0.4: 1", "not a port"},
        {"10.0.0.4:0x1", "not a port"},
        {"10.0.0.4:000001", "not a port"},
        {"10.0.0.256:7001", "neither"},
        {"10.0.0:7001", "neither"},
        {"a..b:7001", "neither"},
        {".a:7001", "neither"},
        {"a.:7001", "neither"},
        {"-a.b:7001", "neither"},
        {"a-.b:7001", "neither"},
        {"a-:7001", "neither"},
        {"a_b:7001", "neither"},
        {"a b:7001", "neither"},
        {"h\xc3\xb4pital:7001", "neither"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b:7001", "neither"}, /* a label of 64 */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct address a = {.port = 42};
        struct failure f;
        if (address_parse(&a, bad[i].text, false, &f) != ERR_INVALID || !strstr(f.text, bad[i].says)) {
            print_error("'%s': %s\n", bad[i].text, f.text);
            fail_test();
        }
        assert_int_equal(a.port, 42); /* unchanged */
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct address a;
    char text[LIMIT_ADDRESS + 2], again[ADDRESS_TEXT_SIZE];
    memset(text, 'a', sizeof text);
    for (size_t i = 50; i < sizeof text; i += 50)
        text[i] = '.';
    memcpy(text + LIMIT_ADDRESS - 2, ":7", 3);
    assert_int_equal(address_parse(&a, text, false, NULL), OK);
    address_format(again, &a);
    assert_string_equal(again, text);
    memcpy(text + LIMIT_ADDRESS - 2, ":77", 4);
    assert_int_equal(address_parse(&a, text, false, NULL), ERR_INVALID);
    assert_int_equal(address_parse(&a, "[::]:0", true, NULL), OK);
    assert_int_equal(a.port, 0);
}

static void test_sockets(void **state)
{
    (void)state;
    static const char *const texts[] = {"10.0.0.4:7001", "[fd00::4]:7001", "0.0.0.0:1", "[::]:1"};
    struct sockaddr_storage s;
    struct address a, b;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(address_parse(&a, texts[i], false, NULL), OK);
        assert_true(address_to_socket(&s, &a));
        address_from_socket(&b, (struct sockaddr *)&s);
        assert_true(address_equal(&a, &b));
        assert_int_equal(address_is_wildcard(&a), i >= 2);
    }
    assert_int_equal(address_parse(&a, "node.example:1", false, NULL), OK);
    assert_false(address_to_socket(&s, &a));
    /* An IPv4 client on an IPv6 socket is that IPv4 client. */
    assert_int_equal(address_parse(&a, "[::ffff:10.0.0.4]:7001", false, NULL), OK);
    assert_true(address_to_socket(&s, &a));
    address_from_socket(&b, (struct sockaddr *)&s);
    assert_int_equal(b.kind, ADDRESS_IPV4);
    assert_string_equal(b.host, "10.0.0.4");
    assert_false(address_equal(&a, &b));
}

static void test_reaches(void **state)
{
    (void)state;
    static const struct {
        const char *to, *own;
        bool reaches;
    } cases[] = {
        {"10.0.0.4:7001", "10.0.0.4:7001", true},       {"10.0.0.4:7001", "0.0.0.0:7001", true},
        {"10.0.0.4:7001", "10.0.0.5:7001", false},      {"10.0.0.4:7001", "0.0.0.0:7002", false},
        {"node.example:7001", "10.0.0.4:7001", true},   {"node.example:7001", "10.0.0.4:7002", false},
        {"[fd00:0::4]:7001", "[fd00::4]:7001", true},   {"[fd00::4]:7001", "[::]:7001", true},
        {"[fd00::4]:7001", "127.0.0.1:7001", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address to, own;
        assert_int_equal(address_parse(&to, cases[i].to, false, NULL), OK);
        assert_int_equal(address_parse(&own, cases[i].own, false, NULL), OK);
        assert_int_equal(address_reaches(&to, &own), cases[i].reaches);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_reaches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
