#include "quality/task.h"

#include "base/fs.h"
#include "support/goldens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

static char file_path[64];

static int make_file(void **state) {
    (void)state;
    strcpy(file_path, "/tmp/test_task.XXXXXX");
    int fd = mkstemp(file_path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(file_path);
}

static int load(enum task_kind kind, const char *text, size_t limit, struct task_set *set,
                struct err *e) {
    struct err write_error = ERR_INIT;
    assert_int_equal(fs_write_atomic(file_path, text, strlen(text), &write_error), 0);
    return task_load(kind, file_path, limit, set, e);
}

/* A set that must load; the caller releases it. */
static void load_ok(enum task_kind kind, const char *text, size_t limit, struct task_set *set) {
    struct err e = ERR_INIT;
    if (load(kind, text, limit, set, &e)) {
        fail_msg("%s", e.msg);
    }
    assert_int_equal(set->kind, kind);
}

static void rag_item_has_prompt_and_golds(void **state) {
    (void)state;
    struct task_set set;
    load_ok(
        TASK_RAG,
        "{\"id\":\"q1\",\"domain\":\"legal\",\"context\":\"C {question} c\",\"question\":\"Q?\","
        "\"answers\":{\"text\":[\"one\",\"two\"],\"answer_start\":[0,1]}}\n",
        0, &set);
    assert_int_equal(set.n_items, 1);
    const struct task_item *it = &set.items[0];
    assert_string_equal(it->id, "q1");
    assert_string_equal(it->domain, "legal");
    assert_int_equal(it->n_messages, 2);
    assert_string_equal(it->messages[0].role, "system");
    assert_string_equal(it->messages[1].role, "user");
    assert_string_equal(it->messages[1].content, "Context: C {question} c\n\nQuestion: Q?\n"
                                                 "Answer in at most five words:");
    assert_int_equal(it->n_golds, 2);
    assert_string_equal(it->golds[0], "one");
    assert_string_equal(it->golds[1], "two");
    assert_false(it->unanswerable);
    task_set_release(&set);
    assert_int_equal(set.n_items, 0);
}

static void answers_come_in_several_shapes(void **state) {
    (void)state;
    static const struct {
        const char *answers;
        size_t n;
        bool unanswerable;
    } cases[] = {
        {"\"answers\":{\"text\":[\"x\"],\"answer_start\":[0]}", 1, false},
        {"\"answers\":{\"text\":[],\"answer_start\":[]}", 1, true},
        {"\"answers\":[{\"text\":\"x\",\"answer_start\":3},{\"text\":\"y\"}]", 2, false},
        {"\"answers\":[\"x\",\"y\",\"z\"]", 3, false},
        {"\"answers\":[]", 1, true},
        {"\"answers\":[],\"is_impossible\":true", 1, true},
        {"\"answers\":[\"x\"],\"is_impossible\":false", 1, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf line;
        buf_init(&line);
        buf_addf(&line, "{\"context\":\"c\",\"question\":\"q\",%s}", cases[i].answers);
        struct task_set set;
        load_ok(TASK_RAG, line.data, 0, &set);
        assert_int_equal(set.items[0].n_golds, cases[i].n);
        assert_int_equal(set.items[0].unanswerable, cases[i].unanswerable);
        assert_string_equal(set.items[0].golds[0], cases[i].unanswerable ? "" : "x");
        task_set_release(&set);
        buf_release(&line);
    }
}

static void ids_and_domains_may_be_absent(void **state) {
    (void)state;
    struct task_set set;
    load_ok(TASK_SUMM,
            "\xEF\xBB\xBF\n" /* a byte order mark, and lines to skip */
            "  \r\n"
            "{\"document\":\"d\",\"summary\":\"s\"}\r\n"
            "{\"id\":null,\"domain\":null,\"document\":\"d\",\"summary\":\"s\"}\n"
            "{\"id\":40,\"document\":\"d\",\"summary\":\"s\"}",
            0, &set);
    assert_int_equal(set.n_items, 3);
    assert_string_equal(set.items[0].id, "line-3");
    assert_string_equal(set.items[0].domain, "");
    assert_string_equal(set.items[1].id, "line-4");
    assert_string_equal(set.items[2].id, "40");
    assert_string_equal(set.items[2].golds[0], "s");
    assert_non_null(strstr(set.items[2].messages[1].content, "Document: d\n"));
    task_set_release(&set);
}

static void chat_keeps_its_turns(void **state) {
    (void)state;
    struct task_set set;
    load_ok(TASK_CHAT,
            "{\"messages\":[{\"role\":\"user\",\"content\":\"u1\"},"
            "{\"role\":\"assistant\",\"content\":\"a1\"},{\"role\":\"user\",\"content\":\"u2\"},"
            "{\"role\":\"assistant\",\"content\":\"a2\"}]}\n"
            "{\"messages\":[{\"role\":\"system\",\"content\":\"own\"},"
            "{\"role\":\"user\",\"content\":\"u1\"},"
            "{\"role\":\"assistant\",\"content\":\"a1\"}]}\n",
            0, &set);
    assert_int_equal(set.n_items, 2);
    static const struct task_message want[] = {
        {"system", "You are a helpful assistant."},
        {"user", "u1"},
        {"assistant", "a1"},
        {"user", "u2"},
    };
    const struct task_item *it = &set.items[0];
    assert_int_equal(it->n_messages, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(it->messages[i].role, want[i].role);
        assert_string_equal(it->messages[i].content, want[i].content);
    }
    assert_int_equal(it->n_golds, 1);
    assert_string_equal(it->golds[0], "a2");
    it = &set.items[1];
    assert_int_equal(it->n_messages, 2);
    assert_string_equal(it->messages[0].content, "own");
    assert_string_equal(it->messages[1].content, "u1");
    assert_string_equal(it->golds[0], "a1");
    task_set_release(&set);
}

#define SUMM(id) "{\"id\":\"" id "\",\"document\":\"d\",\"summary\":\"s\"}\n"

/* As lm-evaluation-harness has HellaSwag, ARC and MMLU. */
static void choices_come_in_several_shapes(void **state) {
    (void)state;
    struct task_set set;
    load_ok(TASK_CHOICE,
            "{\"query\":\"He sat down and\",\"choices\":[\"flew.\",\"ate.\"],\"gold\":1}\n"
            "{\"id\":\"arc\",\"question\":\"Which is hot?\",\"choices\":{\"text\":[\"ice\","
            "\"fire\",\"fog\"],\"label\":[\"1\",\"2\",\"3\"]},\"answerKey\":\"2\"}\n"
            "{\"question\":\"2 + 2?\",\"choices\":[\"3\",\"4\",\"5\",\"6\"],\"answer\":1}\n"
            "{\"question\":\"2 + 3?\",\"choices\":[\"3\",\"4\",\"5\"],\"answer\":\"C\"}\n",
            0, &set);
    static const size_t n[] = {2, 3, 4, 3};
    static const size_t right[] = {1, 1, 1, 2};
    assert_int_equal(set.n_items, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(set.items[i].n_choices, n[i]);
        assert_int_equal(set.items[i].right, right[i]);
        assert_string_equal(set.items[i].golds[0], set.items[i].choices[right[i]]);
    }
    assert_string_equal(set.items[0].question, "He sat down and");
    assert_string_equal(set.items[1].question, "Question: Which is hot?\nAnswer:");
    assert_string_equal(set.items[1].id, "arc");
    assert_string_equal(set.items[1].messages[1].content,
                        "Which is hot?\n\nA. ice\nB. fire\nC. fog\n\nLetter of the right choice:");
    task_set_release(&set);
}

static void limit_ends_the_load(void **state) {
    (void)state;
    struct task_set set;
    load_ok(TASK_SUMM, "\n" SUMM("a") "\n" SUMM("b") SUMM("c") "not JSON\n", 2, &set);
    assert_int_equal(set.n_items, 2);
    assert_string_equal(set.items[1].id, "b");
    task_set_release(&set);
    load_ok(TASK_SUMM, SUMM("a") SUMM("b"), 1000000, &set);
    assert_int_equal(set.n_items, 2);
    task_set_release(&set);
}

#define RAG(members) "{\"context\":\"c\",\"question\":\"q\"," members "}"
#define CHOICE(list, right) "{\"question\":\"q\",\"choices\":" list ",\"answer\":" right "}"
#define CHAT(messages) "{\"messages\":[" messages "]}"
#define MSG(role, content) "{\"role\":\"" role "\",\"content\":\"" content "\"}"

static const struct {
    enum task_kind kind;
    const char *text;
    int line; /* 0: the error is about the file */
    const char *says;
} broken[] = {
    {TASK_SUMM, "", 0, "no items"},
    {TASK_SUMM, "\n \n", 0, "no items"},
    {TASK_SUMM, SUMM("a") "{\"id\":", 2, "not valid JSON"},
    {TASK_SUMM, SUMM("a") "[1]", 2, "not an object"},
    {TASK_SUMM, SUMM("a") SUMM("a") " {}", 2, "already on line 1"},
    {TASK_SUMM, SUMM("a") "{\"id\":\"\\u0000\"}", 2, "not valid JSON"},
    {TASK_SUMM, SUMM("a") "{\"document\":\"\xFF\"}", 2, "byte 14 of the line is not UTF-8"},
    {TASK_SUMM, SUMM("a") "{\"document\":\"d\",\"document\":\"e\",\"summary\":\"s\"}", 2,
     "duplicate"},
    {TASK_SUMM, "{\"document\":\"d\"}", 1, "\"summary\" should be a string and is absent"},
    {TASK_SUMM, "{\"document\":[],\"summary\":\"s\"}", 1, "\"document\" should be a string"},
    {TASK_SUMM, "{\"document\":\" \\n\",\"summary\":\"s\"}", 1, "\"document\" is empty"},
    {TASK_SUMM, "{\"document\":\"d\",\"summary\":\"\"}", 1, "\"summary\" is empty"},
    {TASK_SUMM, "{\"id\":1.5,\"document\":\"d\",\"summary\":\"s\"}", 1, "\"id\" should be"},
    {TASK_SUMM, "{\"id\":\"\",\"document\":\"d\",\"summary\":\"s\"}", 1, "\"id\" is empty"},
    {TASK_SUMM, "{\"domain\":3,\"document\":\"d\",\"summary\":\"s\"}", 1, "\"domain\" should be"},
    {TASK_SUMM,
     "\n\n{\"id\":\"line-4\",\"document\":\"d\",\"summary\":\"s\"}\n"
     "{\"document\":\"d\",\"summary\":\"s\"}",
     4, "already on line 3"},
    {TASK_RAG, "{\"question\":\"q\",\"answers\":[]}", 1, "\"context\" should be"},
    {TASK_RAG, "{\"context\":\"c\",\"answers\":[]}", 1, "\"question\" should be"},
    {TASK_RAG, "{\"context\":\"c\",\"question\":\"q\"}", 1, "\"answers\" has no list"},
    {TASK_RAG, RAG("\"answers\":\"x\""), 1, "\"answers\" has no list"},
    {TASK_RAG, RAG("\"answers\":{}"), 1, "\"answers\" has no list"},
    {TASK_RAG, RAG("\"answers\":{\"text\":\"x\"}"), 1, "\"answers\" has no list"},
    {TASK_RAG, RAG("\"answers\":[7]"), 1, "is not a string"},
    {TASK_RAG, RAG("\"answers\":[{\"txt\":\"x\"}]"), 1, "is not a string"},
    {TASK_RAG, RAG("\"answers\":[\"x\",\" \"]"), 1, "is empty"},
    {TASK_RAG, RAG("\"answers\":[\"x\"],\"is_impossible\":true"), 1, "\"is_impossible\" is true"},
    {TASK_RAG, RAG("\"answers\":[],\"is_impossible\":false"), 1, "\"is_impossible\" is not true"},
    {TASK_CHAT, "{}", 1, "\"messages\" is not a list"},
    {TASK_CHAT, CHAT(""), 1, "\"messages\" is not a list"},
    {TASK_CHAT, CHAT("\"hello\""), 1, "\"messages\"[0] is not an object"},
    {TASK_CHAT, CHAT("{\"role\":\"user\"}"), 1, "\"messages\"[0]: \"content\" should be"},
    {TASK_CHAT, CHAT("{\"content\":\"x\"}"), 1, "\"messages\"[0]: \"role\" should be"},
    {TASK_CHAT, CHAT(MSG("user", "")), 1, "\"messages\"[0]: \"content\" is empty"},
    {TASK_CHAT, CHAT(MSG("user", "u")), 1, "the last of \"messages\" is the user's"},
    {TASK_CHAT, CHAT(MSG("system", "s")), 1, "the last of \"messages\" is the system's"},
    {TASK_CHAT, CHAT(MSG("assistant", "a")), 1, "where \"user\" is due"},
    {TASK_CHAT, CHAT(MSG("system", "s") "," MSG("assistant", "a")), 1, "where \"user\" is due"},
    {TASK_CHAT, CHAT(MSG("user", "u") "," MSG("user", "u")), 1, "where \"assistant\" is due"},
    {TASK_CHAT, CHAT(MSG("user", "u") "," MSG("system", "s")), 1, "where \"assistant\" is due"},
    {TASK_CHAT, CHAT(MSG("user", "u") "," MSG("bot", "s")), 1, "\"bot\" where"},
    {TASK_CHOICE, CHOICE("[\"a\"]", "0"), 1, "\"choices\" is no list of 2 to 26"},
    {TASK_CHOICE, CHOICE("\"ab\"", "0"), 1, "\"choices\" is no list of 2 to 26"},
    {TASK_CHOICE, CHOICE("{\"text\":[]}", "0"), 1, "\"choices\" is no list of 2 to 26"},
    {TASK_CHOICE, CHOICE("[\"a\",\" \"]", "0"), 1, "\"choices\"[1] is no text"},
    {TASK_CHOICE, CHOICE("[\"a\",2]", "0"), 1, "\"choices\"[1] is no text"},
    {TASK_CHOICE, CHOICE("[\"a\",\"b\"]", "2"), 1, "names one of the 2 choices"},
    {TASK_CHOICE, CHOICE("[\"a\",\"b\"]", "-1"), 1, "names one of the 2 choices"},
    {TASK_CHOICE, CHOICE("[\"a\",\"b\"]", "\"C\""), 1, "names one of the 2 choices"},
    {TASK_CHOICE, CHOICE("[\"a\",\"b\"]", "\"a\""), 1, "names one of the 2 choices"},
    {TASK_CHOICE, CHOICE("[\"a\",\"b\"]", "null"), 1, "names one of the 2 choices"},
    {TASK_CHOICE, "{\"choices\":[\"a\",\"b\"],\"gold\":0}", 1, "\"question\" should be"},
    {TASK_CHOICE, "{\"query\":\"\",\"choices\":[\"a\",\"b\"],\"gold\":0}", 1, "\"query\" is empty"},
};

static void broken_files_are_refused_by_line(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct task_set set;
        struct err e = ERR_INIT;
        int rc = load(broken[i].kind, broken[i].text, 0, &set, &e);
        struct buf where;
        buf_init(&where);
        buf_addstr(&where, file_path);
        if (broken[i].line) {
            buf_addf(&where, ":%d", broken[i].line);
        }
        buf_addstr(&where, ": ");
        if (rc != EE_FORMAT || strncmp(e.msg, where.data, where.len) != 0 ||
            !strstr(e.msg, broken[i].says)) {
            fail_msg("for %s: %d, \"%s\" does not say \"%s\"", broken[i].text, rc, e.msg,
                     broken[i].says);
        }
        assert_int_equal(set.n_items, 0);
        assert_null(set.items);
        buf_release(&where);
    }
}

static void wrong_shape_is_told_the_right_one(void **state) {
    (void)state;
    static const char *const members[TASK_KINDS] = {"\"answer_start\"", "\"summary\"", "\"role\"",
                                                    "\"answerKey\""};
    for (int k = 0; k < TASK_KINDS; k++) {
        struct task_set set;
        struct err e = ERR_INIT;
        assert_int_equal(load((enum task_kind)k, "{\"text\":\"x\"}", 0, &set, &e), EE_FORMAT);
        const char *expected = strstr(e.msg, "; expected ");
        assert_non_null(expected);
        assert_non_null(strstr(expected, members[k]));
    }
}

static void absent_file_is_named(void **state) {
    (void)state;
    struct task_set set;
    struct err e = ERR_INIT;
    assert_int_equal(task_load(TASK_RAG, "/nonexistent/eval.jsonl", 0, &set, &e), EE_MISSING);
    assert_non_null(strstr(e.msg, "/nonexistent/eval.jsonl"));
}

static void names_go_both_ways(void **state) {
    (void)state;
    struct err e = ERR_INIT;
    for (int k = 0; k < TASK_KINDS; k++) {
        enum task_kind kind = TASK_KINDS;
        assert_int_equal(task_kind_from_name(task_kind_name((enum task_kind)k), &kind, &e), 0);
        assert_int_equal(kind, k);
    }
    enum task_kind kind;
    assert_int_equal(task_kind_from_name("qa", &kind, &e), EE_USAGE);
    assert_non_null(strstr(e.msg, "\"qa\""));
}

/* The sets that come with the program. */
static void shipped_sets_load(void **state) {
    (void)state;
    static const struct {
        enum task_kind kind;
        const char *path;
        size_t at_least;
    } shipped[] = {{TASK_RAG, "data/tasks/rag/eval.jsonl", 100},
                   {TASK_SUMM, "data/tasks/summ/eval.jsonl", 100},
                   {TASK_CHAT, "data/tasks/chat/eval.jsonl", 100},
                   {TASK_RAG, "data/tasks/rag/train.jsonl", 420},
                   {TASK_SUMM, "data/tasks/summ/train.jsonl", 420}};
    for (size_t k = 0; k < sizeof(shipped) / sizeof(shipped[0]); k++) {
        char *path = source_path(shipped[k].path);
        struct task_set set;
        struct err e = ERR_INIT;
        if (task_load(shipped[k].kind, path, 0, &set, &e)) {
            fail_msg("%s", e.msg);
        }
        assert_true(set.n_items >= shipped[k].at_least);
        size_t unanswerable = 0;
        for (size_t i = 0; i < set.n_items; i++) {
            const struct task_item *it = &set.items[i];
            assert_true(it->n_golds > 0);
            assert_true(it->n_messages >= 2);
            assert_string_equal(it->messages[0].role, "system");
            assert_string_equal(it->messages[it->n_messages - 1].role, "user");
            assert_true(strlen(it->domain) > 0);
            unanswerable += it->unanswerable;
        }
        assert_true((unanswerable > 0) == (shipped[k].kind == TASK_RAG));
        task_set_release(&set);
        free(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rag_item_has_prompt_and_golds),
        cmocka_unit_test(answers_come_in_several_shapes),
        cmocka_unit_test(ids_and_domains_may_be_absent),
        cmocka_unit_test(chat_keeps_its_turns),
        cmocka_unit_test(choices_come_in_several_shapes),
        cmocka_unit_test(limit_ends_the_load),
        cmocka_unit_test(broken_files_are_refused_by_line),
        cmocka_unit_test(wrong_shape_is_told_the_right_one),
        cmocka_unit_test(absent_file_is_named),
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(shipped_sets_load),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
