/*
 * The settings that shape a training, as one table: for JSON, for plans, and for the ranges they may
 * have.
 */
#ifndef ADAPT_TRAIN_SETTINGS_H
#define ADAPT_TRAIN_SETTINGS_H

#include "adapt/train.h"

enum train_setting_kind {
    SETTING_INT,    /* int */
    SETTING_LONG,   /* int64_t */
    SETTING_NUM,    /* double */
    SETTING_BOOL,   /* bool */
    SETTING_TEXT,   /* const char *; NULL where it may be left out */
    SETTING_CHOICE, /* the same, one of a list */
};

struct train_setting {
    const char *name; /* in JSON and plans; with '-' for '_' on the command line */
    enum train_setting_kind kind;
    size_t offset; /* in struct train_opts */
    double least;  /* of a number */
    double most;
    const char *const *choices; /* NULL-terminated */
};

/* Ends with a name of NULL. */
extern const struct train_setting train_settings[];

/* Where o holds the setting. */
void *train_setting_at(struct train_opts *o, const struct train_setting *s);

/* Refuses the first number that is out of its range, and texts that name nothing. */
int train_settings_check(const struct train_opts *o, struct err *e) EE_MUST_CHECK;
/* Sets what the object has; texts are borrowed from it. */
int train_settings_parse(const json_t *settings, struct train_opts *o, struct err *e) EE_MUST_CHECK;

#endif
