#include "ledger/tables.h"

const struct table_name ledger_tables[] = {
#define X(name, number, text, replicated) {number, text},
    TABLE_LIST(X)
#undef X
};
const size_t ledger_tables_count = sizeof ledger_tables / sizeof ledger_tables[0];

bool table_is_replicated(enum table_number table)
{
    switch (table) {
#define X(name, number, text, replicated)                                                          \
    case name: return replicated;
        TABLE_LIST(X)
#undef X
    }
    return false;
}
