"use strict";
// The economics of a deployment: the formulas of docs/metrics.md over one flat object of numbers, as
// edge-eval metrics computes them. A field that is not known is NaN, and so is what is made of it.

const econ = (() => {
  const J_PER_KWH = 3.6e6;
  const HOURS_PER_MONTH = 730;
  const owned = (x) => x.owned > 0;

  function billedS(seconds, minimum, step) {
    if (seconds <= 0) return 0;
    return Math.max(step > 0 ? Math.ceil(seconds / step) * step : seconds, minimum);
  }

  function hardwarePerH(x) {
    const device = owned(x) ? x.capex_usd / x.lifetime_h + x.maintenance_usd_per_h : x.cloud_usd_per_h;
    return x.devices * x.share * device;
  }

  const joulesUsd = (x, joules) => (owned(x) ? (joules() / J_PER_KWH) * x.pue * x.kwh_usd : 0);
  const idlePerH = (x) => (owned(x) ? ((x.share * x.idle_w) / 1000) * x.pue * x.kwh_usd : 0);
  const replicaPerH = (x) => hardwarePerH(x) + idlePerH(x);
  const commonPerH = (x) => x.ops_usd_per_h + (x.refresh_h > 0 ? x.recurring_usd / x.refresh_h : x.refresh_h === 0 ? 0 : NaN);
  const replicaTraffic = (x) => (x.capacity_per_h * x.headroom) / x.peak_ratio;
  const replicas = (x, r) => Math.max(x.replicas_min, Math.ceil(r / replicaTraffic(x)));
  const fixedPerH = (x, n) => n * replicaPerH(x) + commonPerH(x);
  const marginal = (x) => joulesUsd(x, () => x.request_above_idle_j) + x.variable_usd;

  function onceHardware(x, perH) {
    if (x.once_is_extra === 0 || x.once_s === 0) return 0;
    const seconds = owned(x) ? x.once_s : billedS(x.once_s + x.boot_s, x.bill_minimum_s, x.bill_step_s);
    return (perH * seconds * x.once_is_extra) / 3600;
  }

  const onceAt = (x, perH) => x.labour_usd + joulesUsd(x, () => x.once_j) + onceHardware(x, perH);
  const once = (x) => onceAt(x, hardwarePerH(x));

  // Tokens that do not occur need no price.
  const tokensUsd = (tokens, perMtok) => (tokens === 0 ? 0 : (tokens * perMtok) / 1e6);
  const api = (x) =>
    x.api_batch_factor *
    (tokensUsd(x.api_uncached_tokens, x.api_uncached_usd_per_mtok) +
      tokensUsd(x.api_cached_tokens, x.api_cached_usd_per_mtok) +
      tokensUsd(x.api_written_tokens, x.api_written_usd_per_mtok) +
      tokensUsd(x.api_output_tokens, x.api_output_usd_per_mtok));

  const request = (x, r) => fixedPerH(x, replicas(x, r)) / r + marginal(x);
  const saving = (x, r) => r * (api(x) - marginal(x)) - fixedPerH(x, replicas(x, r));

  function nBreak(x, r) {
    const s = saving(x, r);
    if (Number.isNaN(s)) return NaN;
    return s > 0 ? (r * once(x)) / s : Infinity;
  }

  function breakEvenDays(x) {
    const s = saving(x, x.traffic_per_h);
    if (Number.isNaN(s)) return NaN;
    return s > 0 ? once(x) / s / 24 : Infinity;
  }

  // Mean rates at which money is saved: [low, high) ranges, the first `cap` of them.
  function paying(x, cap = 8) {
    const perRequest = api(x) - marginal(x);
    const each = replicaPerH(x);
    const common = commonPerH(x);
    const carries = replicaTraffic(x);
    const gain = carries * perRequest - each;
    if (Number.isNaN(gain + common)) return { ranges: null, alwaysFrom: NaN };
    if (!(perRequest > 0) || !(gain > 0)) return { ranges: [], alwaysFrom: Infinity };
    const first = Math.max(x.replicas_min, Math.floor(common / gain) + 1);
    const last = Math.ceil((common + carries * perRequest) / gain);
    const endless = Math.max(first, last - 1);
    const ranges = [];
    for (let r = first; r <= endless && ranges.length < cap; r++) {
      ranges.push([(r * each + common) / perRequest, r < endless ? r * carries : Infinity]);
    }
    return { ranges, alwaysFrom: (endless * each + common) / perRequest };
  }

  function cashAt(x, months, fall, discount) {
    const r = x.traffic_per_h;
    const n = replicas(x, r);
    const rent = x.devices * x.share * (owned(x) ? x.maintenance_usd_per_h : x.cloud_usd_per_h);
    const own = n * (rent + idlePerH(x)) + commonPerH(x) + r * marginal(x);
    const theirs = r * api(x);
    let cash = -onceAt(x, rent);
    if (owned(x)) {
      const purchase = n * x.devices * x.share * x.capex_usd;
      const lifetime = x.lifetime_h / HOURS_PER_MONTH;
      if (Number.isNaN(lifetime)) return NaN;
      for (let k = 0; k * lifetime < months; k++) cash -= purchase / (1 + discount) ** ((k * lifetime) / 12);
    }
    for (let m = 1; m <= months; m++) {
      const price = (1 - fall) ** ((m - 0.5) / 12);
      cash += (HOURS_PER_MONTH * (theirs * price - own)) / (1 + discount) ** (m / 12);
    }
    return cash;
  }

  const cash = (x, months, fall) => cashAt(x, months, fall, 0);
  const npv = (x, months, fall) => cashAt(x, months, fall, x.discount_per_year);

  function requestG(x) {
    const r = x.traffic_per_h;
    const idle = (replicas(x, r) * x.share * x.idle_w) / 1000 / r;
    return (idle + x.request_above_idle_j / J_PER_KWH) * x.pue * x.carbon_g_per_kwh;
  }

  function embodiedG(x) {
    const r = x.traffic_per_h;
    return (replicas(x, r) * x.devices * x.share * x.embodied_kg * 1000) / x.lifetime_h / r;
  }

  // What each figure of profile full is in these terms; ids as in metrics.csv.
  const figures = {
    n_break: (x) => nBreak(x, x.traffic_per_h),
    break_even_days: breakEvenDays,
    saving_usd_per_h: (x) => saving(x, x.traffic_per_h),
    replicas: (x) => replicas(x, x.traffic_per_h),
    fixed_usd_per_h: (x) => fixedPerH(x, replicas(x, x.traffic_per_h)),
    marginal_usd: marginal,
    once_usd: once,
    request_usd: (x) => request(x, x.traffic_per_h),
    api_request_usd: api,
    pays_from_per_h: (x) => {
      const { ranges } = paying(x);
      return ranges === null ? NaN : ranges.length ? ranges[0][0] : Infinity;
    },
    always_pays_from_per_h: (x) => paying(x).alwaysFrom,
    cash_12_usd: (x) => cash(x, 12, 0),
    cash_36_usd: (x) => cash(x, 36, 0),
    npv_12_usd: (x) => npv(x, 12, 0),
    npv_36_usd: (x) => npv(x, 36, 0),
    request_gco2e: requestG,
    embodied_gco2e: embodiedG,
  };

  // The figure, and the fields that it needs and that are not known.
  function evaluate(id, x) {
    const missing = new Set();
    const watched = new Proxy(x, {
      get(fields, name) {
        if (Number.isNaN(fields[name])) missing.add(name);
        return fields[name];
      },
    });
    return { value: figures[id](watched), missing: [...missing] };
  }

  return { figures, evaluate, nBreak, saving, replicas, fixedPerH, marginal, api, cash };
})();
