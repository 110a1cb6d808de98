#include "adapt/hf_vocab.h"

#include "base/arena.h"
#include "base/fs.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* llama.cpp's token types. */
enum { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3, TOKEN_USER_DEFINED = 4, TOKEN_UNUSED = 5 };

struct vocab {
    const char *dir;
    const struct hf_config *config;
    struct gguf_context *g;
    struct arena arena;
    json_t *tokenizer; /* tokenizer.json */
    json_t *settings;  /* tokenizer_config.json; NULL without */
    const char **texts;
    int32_t *types;
    const char *bos; /* what is said of them in settings, then by the template; NULL without */
    const char *eos;
    const char *eot;
};

static int nomem(struct err *e) {
    return err_set(e, EE_NOMEM, "vocabulary: out of memory");
}

/* *out stays NULL when the file is not there. */
static int parse_optional(const char *dir, const char *name, json_t **out, struct err *e) {
    char *path = fs_join(dir, name);
    int rc = path ? 0 : nomem(e);
    *out = NULL;
    if (!rc && fs_exists(path)) {
        rc = json_parse_file(path, out, e);
    }
    free(path);
    return rc;
}

static bool has_file(const char *dir, const char *name) {
    char *path = fs_join(dir, name);
    bool there = path && fs_exists(path);
    free(path);
    return there;
}

/* --- Pre-tokenizers -------------------------------------------------------------------------- */

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* By llama.cpp's names. The rule that merges are skipped for words in the vocabulary goes with the
 * name there, so it is part of the match here. */
static const struct pre {
    const char *name;
    const char *regex;      /* of a Split before ByteLevel; or NULL and */
    bool individual_digits; /* a Digits step instead, and ByteLevel's own regex */
    bool ignore_merges;
} pres[] = {{"llama-bpe", CONTRACTIONS "\\p{N}{1,3}" REST, false, true},
            {"qwen2", CONTRACTIONS "\\p{N}" REST, false, false},
            {"smollm", NULL, true, false}};

static bool flag(const json_t *o, const char *key, bool fallback) {
    const json_t *v = json_object_get(o, key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

static bool is_type(const json_t *o, const char *type) {
    return !strcmp(json_str_or(o, "type", ""), type);
}

static bool matches(const struct pre *p, const json_t *first, const json_t *second,
                    bool ignore_merges) {
    if (p->ignore_merges != ignore_merges || !is_type(second, "ByteLevel") ||
        flag(second, "add_prefix_space", true) || flag(second, "use_regex", true) == !!p->regex) {
        return false;
    }
    if (!p->regex) {
        return is_type(first, "Digits") && flag(first, "individual_digits", false);
    }
    const char *regex = json_str_or(json_object_get(first, "pattern"), "Regex", "");
    return is_type(first, "Split") && !strcmp(regex, p->regex) &&
           !strcmp(json_str_or(first, "behavior", ""), "Isolated") && !flag(first, "invert", false);
}

static int find_pre(const struct vocab *v, const char **name, struct err *e) {
    const json_t *pre = json_object_get(v->tokenizer, "pre_tokenizer");
    const json_t *steps = json_object_get(pre, "pretokenizers");
    bool ignore = flag(json_object_get(v->tokenizer, "model"), "ignore_merges", false);
    bool two = is_type(pre, "Sequence") && json_array_size(steps) == 2;
    for (size_t i = 0; two && i < sizeof(pres) / sizeof(pres[0]); i++) {
        if (matches(&pres[i], json_array_get(steps, 0), json_array_get(steps, 1), ignore)) {
            *name = pres[i].name;
            return 0;
        }
    }
    return err_set(
        e, EE_UNSUPPORTED,
        "%s/tokenizer.json cuts texts in a way that is not known here; the pre-tokenizers "
        "of Llama 3 (llama-bpe), Qwen 2 (qwen2) and SmolLM (smollm) are",
        v->dir);
}

static int check_kind(const struct vocab *v, struct err *e) {
    const json_t *model = json_object_get(v->tokenizer, "model");
    const json_t *normalizer = json_object_get(v->tokenizer, "normalizer");
    if (!is_type(model, "BPE") || flag(model, "byte_fallback", false)) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s/tokenizer.json is a %.40s vocabulary%s; byte-level BPE can be imported",
                       v->dir, json_str_or(model, "type", "nameless"),
                       flag(model, "byte_fallback", false) ? " made from sentencepiece" : "");
    }
    if (json_is_object(normalizer) && !is_type(normalizer, "NFC") &&
        !(is_type(normalizer, "Sequence") &&
          json_array_size(json_object_get(normalizer, "normalizers")) == 0)) {
        return err_set(e, EE_UNSUPPORTED,
                       "%s/tokenizer.json changes texts before it cuts them (%.40s), which "
                       "llama.cpp does not",
                       v->dir, json_str_or(normalizer, "type", "a nameless normalizer"));
    }
    return 0;
}

/* --- Tokens ---------------------------------------------------------------------------------- */

static int place(struct vocab *v, json_int_t id, const char *text, int32_t type, struct err *e) {
    if (id < 0 || id >= v->config->n_vocab) {
        return err_set(e, EE_FORMAT,
                       "%s/tokenizer.json: token %lld (\"%.80s\") is not under the vocab_size of "
                       "config.json, %" PRId64,
                       v->dir, (long long)id, text, v->config->n_vocab);
    }
    v->texts[id] = text;
    v->types[id] = type;
    return 0;
}

static bool has_ends(const char *text, const char *begin, const char *end) {
    size_t n = strlen(text);
    size_t n_begin = strlen(begin);
    size_t n_end = strlen(end);
    return n >= n_begin && n >= n_end && !strncmp(text, begin, n_begin) &&
           !strcmp(text + n - n_end, end);
}

/* Some checkpoints forget to mark their control tokens; those by this shape are meant so. */
static bool looks_special(const char *text) {
    static const char *const words[] = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (!strcmp(text, words[i])) {
            return true;
        }
    }
    return has_ends(text, "<|", "|>") || has_ends(text, "<\uff5c", "\uff5c>") ||
           has_ends(text, "<unused", ">");
}

/* A user-defined token's spaces may be written as sentencepiece does. */
static const char *plain_spaces(struct vocab *v, const char *text) {
    static const char mark[] = "\u2581";
    char *copy = arena_strdup(&v->arena, text);
    char *to = copy;
    for (const char *p = copy; p && *p;) {
        bool is_mark = !strncmp(p, mark, sizeof(mark) - 1);
        *to++ = is_mark ? ' ' : *p;
        p += is_mark ? sizeof(mark) - 1 : 1;
    }
    if (to) {
        *to = '\0';
    }
    return copy;
}

static int place_added(struct vocab *v, json_int_t id, const json_t *token, struct err *e) {
    const char *text = json_str_or(token, "content", NULL);
    if (!text) {
        return err_set(e, EE_FORMAT, "%s: an added token has no content", v->dir);
    }
    if (flag(token, "special", false) || looks_special(text)) {
        return place(v, id, text, TOKEN_CONTROL, e);
    }
    text = plain_spaces(v, text);
    return text ? place(v, id, text, TOKEN_USER_DEFINED, e) : nomem(e);
}

static int collect_added(struct vocab *v, struct err *e) {
    const json_t *list = json_object_get(v->tokenizer, "added_tokens");
    json_t *more = json_object_get(v->settings, "added_tokens_decoder");
    const char *key;
    json_t *token;
    int rc = 0;
    for (size_t i = 0; i < json_array_size(list) && !rc; i++) {
        token = json_array_get(list, i);
        rc = place_added(v, json_int_or(token, "id", -1), token, e);
    }
    json_object_foreach(more, key, token) {
        char *end;
        long long id = strtoll(key, &end, 10);
        bool is_new = id < 0 || id >= v->config->n_vocab || !v->texts[id] || *end;
        if (!rc && is_new) {
            rc = place_added(v, *end ? -1 : id, token, e);
        }
    }
    return rc;
}

static int fill_gaps(struct vocab *v, struct err *e) {
    for (int64_t i = 0; i < v->config->n_vocab; i++) {
        if (!v->texts[i]) {
            char text[32];
            snprintf(text, sizeof(text), "[PAD%" PRId64 "]", i);
            v->texts[i] = arena_strdup(&v->arena, text);
            v->types[i] = TOKEN_UNUSED;
        }
    }
    return v->arena.failed ? nomem(e) : 0;
}

static int write_tokens(struct vocab *v, struct err *e) {
    size_t n = (size_t)v->config->n_vocab;
    json_t *words = json_object_get(json_object_get(v->tokenizer, "model"), "vocab");
    const char *text;
    json_t *id;
    v->texts = arena_array(&v->arena, n, sizeof(*v->texts));
    v->types = arena_array(&v->arena, n, sizeof(*v->types));
    if (!v->texts || !v->types) {
        return nomem(e);
    }
    if (json_object_size(words) == 0) {
        return err_set(e, EE_FORMAT, "%s/tokenizer.json has no vocabulary", v->dir);
    }
    int rc = 0;
    json_object_foreach(words, text, id) {
        rc = rc ? rc
                : place(v, json_is_integer(id) ? json_integer_value(id) : -1, text, TOKEN_NORMAL,
                        e);
    }
    rc = rc ? rc : collect_added(v, e);
    rc = rc ? rc : fill_gaps(v, e);
    if (!rc) {
        gguf_set_arr_str(v->g, "tokenizer.ggml.tokens", v->texts, n);
        gguf_set_arr_data(v->g, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, v->types, n);
    }
    return rc;
}

/* --- Merges ---------------------------------------------------------------------------------- */

/* A space in a part would end it; byte-level BPE writes a space as U+0120. */
static char *add_part(char *to, const char *part) {
    for (; *part; part++) {
        if (*part == ' ') {
            *to++ = (char)0xC4;
            *to++ = (char)0xA0;
        } else {
            *to++ = *part;
        }
    }
    return to;
}

/* "a b", or since 2024 ["a", "b"]. */
static const char *merge_text(struct vocab *v, const json_t *merge) {
    if (json_is_string(merge)) {
        return json_string_value(merge);
    }
    const char *a = json_string_value(json_array_get(merge, 0));
    const char *b = json_string_value(json_array_get(merge, 1));
    if (json_array_size(merge) != 2 || !a || !b) {
        return NULL;
    }
    char *text = arena_alloc(&v->arena, 2 * (strlen(a) + strlen(b)) + 2);
    if (text) {
        char *to = add_part(text, a);
        *to++ = ' ';
        *add_part(to, b) = '\0';
    }
    return text;
}

static int write_merges(struct vocab *v, struct err *e) {
    const json_t *merges = json_object_get(json_object_get(v->tokenizer, "model"), "merges");
    size_t n = json_array_size(merges);
    const char **texts = arena_array(&v->arena, n + 1, sizeof(*texts));
    if (!texts) {
        return nomem(e);
    }
    if (n == 0) {
        return err_set(e, EE_FORMAT, "%s/tokenizer.json has no merges", v->dir);
    }
    for (size_t i = 0; i < n; i++) {
        texts[i] = merge_text(v, json_array_get(merges, i));
        if (!texts[i]) {
            return v->arena.failed ? nomem(e)
                                   : err_set(e, EE_FORMAT,
                                             "%s/tokenizer.json: merge %zu is no pair", v->dir, i);
        }
    }
    gguf_set_arr_str(v->g, "tokenizer.ggml.merges", texts, n);
    return 0;
}

/* --- Special tokens -------------------------------------------------------------------------- */

/* settings[name]: a text, or an object with the text as its content. */
static const char *setting_token(const struct vocab *v, const char *name) {
    const json_t *entry = json_object_get(v->settings, name);
    return json_is_string(entry) ? json_string_value(entry) : json_str_or(entry, "content", NULL);
}

static const char *special_of(const json_t *step) {
    return json_str_or(json_object_get(step, "SpecialToken"), "id", NULL);
}

/* What a template puts before and behind every text. */
static void read_template(struct vocab *v, const json_t *template) {
    const json_t *steps = json_object_get(template, "single");
    size_t n = json_array_size(steps);
    const char *first = n > 1 ? special_of(json_array_get(steps, 0)) : NULL;
    const char *last = n > 1 ? special_of(json_array_get(steps, n - 1)) : NULL;
    if (first) {
        v->bos = v->bos ? v->bos : first;
        gguf_set_val_bool(v->g, "tokenizer.ggml.add_bos_token", !strcmp(first, v->bos));
    }
    if (last) {
        v->eot = v->eos && strcmp(last, v->eos) != 0 ? v->eos : NULL;
        v->eos = last;
        gguf_set_val_bool(v->g, "tokenizer.ggml.add_eos_token", true);
    }
}

static void read_templates(struct vocab *v) {
    const json_t *post = json_object_get(v->tokenizer, "post_processor");
    const json_t *steps = json_object_get(post, "processors");
    if (is_type(post, "TemplateProcessing")) {
        read_template(v, post);
    }
    for (size_t i = 0; i < json_array_size(steps); i++) {
        if (is_type(json_array_get(steps, i), "TemplateProcessing")) {
            read_template(v, json_array_get(steps, i));
        }
    }
}

/* The id of an added token; -1 for none. */
static int64_t id_of(const struct vocab *v, const char *text) {
    const json_t *list = json_object_get(v->tokenizer, "added_tokens");
    for (size_t i = 0; text && i < json_array_size(list); i++) {
        const json_t *token = json_array_get(list, i);
        if (!strcmp(json_str_or(token, "content", ""), text)) {
            return json_int_or(token, "id", -1);
        }
    }
    return -1;
}

static void set_special(struct vocab *v, const char *text, const char *config_key,
                        const char *key) {
    int64_t id = id_of(v, text);
    id = id >= 0 ? id : json_int_or(v->config->doc, config_key, -1);
    if (id >= 0 && id < v->config->n_vocab) {
        gguf_set_val_u32(v->g, key, (uint32_t)id);
    }
}

static void set_flag(struct vocab *v, const char *setting, const char *key) {
    const json_t *value = json_object_get(v->settings, setting);
    if (json_is_boolean(value)) {
        gguf_set_val_bool(v->g, key, json_is_true(value));
    }
}

static void write_specials(struct vocab *v) {
    enum { VOCAB_OF_SMALL_CODE_MODELS = 49152 };
    v->bos = setting_token(v, "bos_token");
    v->eos = setting_token(v, "eos_token");
    read_templates(v);
    set_special(v, v->bos, "bos_token_id", "tokenizer.ggml.bos_token_id");
    set_special(v, v->eos, "eos_token_id", "tokenizer.ggml.eos_token_id");
    set_special(v, v->eot, "eot_token_id", "tokenizer.ggml.eot_token_id");
    set_special(v, setting_token(v, "unk_token"), "unk_token_id",
                "tokenizer.ggml.unknown_token_id");
    set_special(v, setting_token(v, "pad_token"), "pad_token_id",
                "tokenizer.ggml.padding_token_id");
    set_flag(v, "add_bos_token", "tokenizer.ggml.add_bos_token");
    set_flag(v, "add_eos_token", "tokenizer.ggml.add_eos_token");
    if (v->config->is_llama) {
        set_flag(v, "add_prefix_space", "tokenizer.ggml.add_space_prefix");
        /* llama.cpp's converter knows this family (SmolLM) by the size of its vocabulary. */
        if (v->config->n_vocab == VOCAB_OF_SMALL_CODE_MODELS) {
            gguf_set_val_bool(v->g, "tokenizer.ggml.add_bos_token", false);
        }
    }
}

/* --- Chat template --------------------------------------------------------------------------- */

static const char *default_template(const json_t *value) {
    if (json_is_string(value)) {
        return json_string_value(value);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *choice = json_array_get(value, i);
        if (!strcmp(json_str_or(choice, "name", ""), "default")) {
            return json_str_or(choice, "template", NULL);
        }
    }
    return NULL;
}

/* In tokenizer_config.json, else in a file of its own. A checkpoint may have none. */
static int write_chat_template(struct vocab *v, struct err *e) {
    const char *text = default_template(json_object_get(v->settings, "chat_template"));
    json_t *doc = NULL;
    struct buf file;
    int rc = 0;
    buf_init(&file);
    char *path = fs_join(v->dir, "chat_template.jinja");
    if (!path) {
        rc = nomem(e);
    } else if (!text && fs_exists(path)) {
        rc = fs_read(path, &file, e);
        text = file.data;
    } else if (!text) {
        rc = parse_optional(v->dir, "chat_template.json", &doc, e);
        text = default_template(json_object_get(doc, "chat_template"));
    }
    if (!rc && text) {
        gguf_set_val_str(v->g, "tokenizer.chat_template", text);
    }
    free(path);
    json_decref(doc);
    buf_release(&file);
    return rc;
}

static int read_files(struct vocab *v, struct err *e) {
    int rc = parse_optional(v->dir, "tokenizer.json", &v->tokenizer, e);
    if (!rc && !v->tokenizer) {
        rc = err_set(e, EE_MISSING, "%s/tokenizer.json is not there%s", v->dir,
                     has_file(v->dir, "tokenizer.model")
                         ? "; the sentencepiece vocabulary tokenizer.model cannot be imported"
                         : "");
    }
    return rc ? rc : parse_optional(v->dir, "tokenizer_config.json", &v->settings, e);
}

int hf_vocab_write(const char *dir, const struct hf_config *c, struct gguf_context *g,
                   struct err *e) {
    struct vocab v = {.dir = dir, .config = c, .g = g, .arena = ARENA_INIT};
    const char *pre = NULL;
    int rc = read_files(&v, e);
    rc = rc ? rc : check_kind(&v, e);
    rc = rc ? rc : find_pre(&v, &pre, e);
    if (!rc) {
        gguf_set_val_str(g, "tokenizer.ggml.model", "gpt2");
        gguf_set_val_str(g, "tokenizer.ggml.pre", pre);
    }
    rc = rc ? rc : write_tokens(&v, e);
    rc = rc ? rc : write_merges(&v, e);
    if (!rc) {
        write_specials(&v);
        rc = write_chat_template(&v, e);
    }
    json_decref(v.tokenizer);
    json_decref(v.settings);
    arena_release(&v.arena);
    return rc;
}
