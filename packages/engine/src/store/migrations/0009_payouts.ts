/**
 * Payouts: an outbox of money that leaves for a chain. What the database itself holds to, whoever writes:
 *
 * - one open payout a node and rail, so the same balance is never promised twice; its amount, address and network never change;
 * - one signed payment at a time, and one confirmed payment ever: a second signature while one may still land cannot be stored, and
 *   what is not stored is not sent;
 * - what is held in `node:…:paying` is the sum of that node's open payouts, checked at commit;
 * - states move prepared -> signed -> confirmed, back from signed to prepared only when the payment's end is known, and to abandoned
 *   only while nothing is signed.
 */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"

export const payouts = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_accounts_kind_check`
  yield* sql`ALTER TABLE ledger_accounts ADD CONSTRAINT ledger_accounts_kind_check CHECK (kind IN ('issuance', 'owner', 'escrow', 'locked', 'available', 'paying', 'paid'))`
  // which wallet a node is paid to: signed by the node's key, the highest sequence counts
  yield* sql`CREATE TABLE payout_addresses (
    node text NOT NULL,
    rail text NOT NULL,
    sequence integer NOT NULL CHECK (sequence > 0),
    address text NOT NULL,
    signature text NOT NULL,
    at double precision NOT NULL,
    PRIMARY KEY (node, rail, sequence)
  )`
  yield* sql`CREATE TABLE payouts (
    id text PRIMARY KEY,
    effect_key text NOT NULL UNIQUE,
    tenant text NOT NULL,
    node text NOT NULL,
    rail text NOT NULL,
    network text NOT NULL,
    token text NOT NULL,
    address text NOT NULL,
    units numeric(40, 0) NOT NULL CHECK (units > 0),
    account text NOT NULL REFERENCES ledger_accounts,
    state text NOT NULL DEFAULT 'prepared' CHECK (state IN ('prepared', 'signed', 'confirmed', 'abandoned')),
    reason text,
    created_at double precision NOT NULL,
    updated_at double precision NOT NULL
  )`
  yield* sql`CREATE UNIQUE INDEX payouts_open ON payouts (node, rail) WHERE state IN ('prepared', 'signed')`
  yield* sql`CREATE INDEX payouts_of_rail ON payouts (rail, created_at)`
  yield* sql`CREATE TABLE payout_payments (
    payout text NOT NULL REFERENCES payouts,
    number integer NOT NULL CHECK (number > 0),
    reference text NOT NULL UNIQUE,
    bytes text NOT NULL,
    expiry text NOT NULL,
    signed_at double precision NOT NULL,
    outcome text CHECK (outcome IN ('confirmed', 'failed', 'expired')),
    detail text,
    ended_at double precision,
    PRIMARY KEY (payout, number),
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
  )`
  yield* sql`CREATE UNIQUE INDEX payout_payments_open ON payout_payments (payout) WHERE outcome IS NULL`
  yield* sql`CREATE UNIQUE INDEX payout_payments_confirmed ON payout_payments (payout) WHERE outcome = 'confirmed'`

  yield* sql`CREATE FUNCTION payout_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF (NEW.id, NEW.effect_key, NEW.tenant, NEW.node, NEW.rail, NEW.network, NEW.token, NEW.address, NEW.units, NEW.account, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.effect_key, OLD.tenant, OLD.node, OLD.rail, OLD.network, OLD.token, OLD.address, OLD.units, OLD.account, OLD.created_at) THEN
        RAISE EXCEPTION 'payout %: its terms never change', OLD.id USING ERRCODE = 'restrict_violation';
      END IF;
      IF (OLD.state || '>' || NEW.state) NOT IN ('prepared>prepared', 'prepared>signed', 'prepared>abandoned', 'signed>signed', 'signed>prepared', 'signed>confirmed') THEN
        RAISE EXCEPTION 'payout %: % does not become %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'restrict_violation';
      END IF;
      RETURN NEW;
    END $$`
  yield* sql`CREATE TRIGGER guard BEFORE UPDATE ON payouts FOR EACH ROW EXECUTE FUNCTION payout_guard()`
  yield* sql`CREATE FUNCTION payout_payment_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF OLD.outcome IS NOT NULL OR (NEW.payout, NEW.number, NEW.reference, NEW.bytes, NEW.expiry, NEW.signed_at) IS DISTINCT FROM (OLD.payout, OLD.number, OLD.reference, OLD.bytes, OLD.expiry, OLD.signed_at) THEN
        RAISE EXCEPTION 'payment % of payout %: what was signed never changes, and it ends once', OLD.number, OLD.payout USING ERRCODE = 'restrict_violation';
      END IF;
      RETURN NEW;
    END $$`
  yield* sql`CREATE TRIGGER guard BEFORE UPDATE ON payout_payments FOR EACH ROW EXECUTE FUNCTION payout_payment_guard()`

  // At commit, so rows are looked up again: state and payments agree, and so do the held balance and the open payouts.
  yield* sql`CREATE FUNCTION payout_check_state(which text) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE found_state text; open_payments integer; confirmed integer;
    BEGIN
      SELECT state INTO found_state FROM payouts WHERE id = which;
      SELECT count(*) FILTER (WHERE outcome IS NULL), count(*) FILTER (WHERE outcome = 'confirmed') INTO open_payments, confirmed FROM payout_payments WHERE payout = which;
      IF (found_state = 'signed') <> (open_payments = 1) OR (found_state = 'confirmed') <> (confirmed = 1) THEN
        RAISE EXCEPTION 'payout %: state % with % open and % confirmed payments', which, found_state, open_payments, confirmed USING ERRCODE = 'check_violation';
      END IF;
    END $$`
  yield* sql`CREATE FUNCTION payout_check_account(which text) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE held numeric; due numeric;
    BEGIN
      SELECT balance INTO held FROM ledger_accounts WHERE id = which AND kind = 'paying';
      IF NOT FOUND THEN RETURN; END IF;
      SELECT COALESCE(sum(units), 0) INTO due FROM payouts WHERE account = which AND state IN ('prepared', 'signed');
      IF held <> due THEN RAISE EXCEPTION 'ledger: % must hold % units for open payouts, not %', which, due, held USING ERRCODE = 'check_violation'; END IF;
    END $$`
  yield* sql`CREATE FUNCTION payout_check() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM payout_check_state(NEW.id); PERFORM payout_check_account(NEW.account); RETURN NULL; END $$`
  yield* sql`CREATE FUNCTION payout_payment_check() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM payout_check_state(NEW.payout); RETURN NULL; END $$`
  yield* sql`CREATE FUNCTION payout_transfer_check() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM payout_check_account(NEW.debit); PERFORM payout_check_account(NEW.credit); RETURN NULL; END $$`
  yield* sql`CREATE CONSTRAINT TRIGGER whole AFTER INSERT OR UPDATE ON payouts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION payout_check()`
  yield* sql`CREATE CONSTRAINT TRIGGER whole AFTER INSERT OR UPDATE ON payout_payments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION payout_payment_check()`
  yield* sql`CREATE CONSTRAINT TRIGGER held AFTER INSERT ON ledger_transfers DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION payout_transfer_check()`
  yield* sql`CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON payout_addresses FOR EACH ROW EXECUTE FUNCTION hyper_append_only()`
  for (const table of ["payouts", "payout_payments"]) {
    yield* sql`CREATE TRIGGER append_only BEFORE DELETE ON ${sql(table)} FOR EACH ROW EXECUTE FUNCTION hyper_append_only()`
  }
  for (const table of ["payout_addresses", "payouts", "payout_payments"]) {
    yield* sql`CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ${sql(table)} FOR EACH STATEMENT EXECUTE FUNCTION hyper_append_only()`
  }
})
