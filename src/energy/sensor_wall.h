/* The parsers of what management controllers answer. Pure; why is filled where there is no figure. */
#ifndef ENERGY_SENSOR_WALL_H
#define ENERGY_SENSOR_WALL_H

#include "base/err.h"

#include <stddef.h>

/* What "ipmitool dcmi power reading" or freeipmi's ipmi-dcmi prints. */
int wall_parse_ipmi(const char *text, double *watts, char *why, size_t size) EE_MUST_CHECK;
/* A Redfish Power, EnvironmentMetrics or Sensor resource. */
int wall_parse_redfish(const char *text, double *watts, char *why, size_t size) EE_MUST_CHECK;

#endif
