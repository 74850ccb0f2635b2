/**
 * Double-entry ledger. One row of `ledger_transfers` moves `units` from `debit` to `credit`; balances follow by trigger and by nothing
 * else. Checked at commit, by the database: all balances add up to zero, no account but `issuance` is below zero, and a settled pool's
 * escrow is empty. Transfers are append-only; `effect_key` makes each one happen once.
 */
import * as Effect from "effect/Effect"
import { SqlClient } from "effect/sql/SqlClient"

export const ledger = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE ledger_accounts (
    id text PRIMARY KEY,
    tenant text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('issuance', 'owner', 'escrow', 'locked', 'available')),
    balance numeric(40, 0) NOT NULL DEFAULT 0 CHECK (kind = 'issuance' OR balance >= 0)
  )`
  yield* sql`CREATE INDEX ledger_accounts_of_tenant ON ledger_accounts (tenant, id)`
  yield* sql`CREATE TABLE ledger_transfers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    effect_key text NOT NULL UNIQUE,
    at double precision NOT NULL,
    debit text NOT NULL REFERENCES ledger_accounts,
    credit text NOT NULL REFERENCES ledger_accounts CHECK (credit <> debit),
    units numeric(40, 0) NOT NULL CHECK (units > 0),
    memo text NOT NULL,
    run_id text,
    step_id text
  )`
  yield* sql`CREATE INDEX ledger_transfers_of_run ON ledger_transfers (run_id, id)`
  yield* sql`CREATE INDEX ledger_transfers_debit ON ledger_transfers (debit)`
  yield* sql`CREATE INDEX ledger_transfers_credit ON ledger_transfers (credit)`
  yield* sql`CREATE TABLE ledger_pools (
    run_id text NOT NULL,
    step_id text NOT NULL,
    tenant text NOT NULL,
    escrow text NOT NULL UNIQUE REFERENCES ledger_accounts,
    units numeric(40, 0) NOT NULL CHECK (units > 0),
    policy text NOT NULL,
    challenge_window double precision NOT NULL CHECK (challenge_window >= 0),
    opened_at double precision NOT NULL,
    settled_at double precision,
    basis json,
    last_batch bigint,
    settlement json,
    PRIMARY KEY (run_id, step_id),
    CHECK ((settled_at IS NULL) = (settlement IS NULL) AND (settled_at IS NULL) = (basis IS NULL) AND (settled_at IS NULL) = (last_batch IS NULL))
  )`
  yield* sql`CREATE TABLE ledger_accruals (
    run_id text NOT NULL,
    step_id text NOT NULL,
    node text NOT NULL,
    units numeric(40, 0) NOT NULL CHECK (units > 0),
    unlocks_at double precision NOT NULL,
    unlocked boolean NOT NULL DEFAULT false,
    PRIMARY KEY (run_id, step_id, node),
    FOREIGN KEY (run_id, step_id) REFERENCES ledger_pools
  )`
  yield* sql`CREATE INDEX ledger_accruals_locked ON ledger_accruals (unlocks_at) WHERE NOT unlocked`

  yield* sql`CREATE FUNCTION ledger_post() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE ledger_accounts SET balance = balance - NEW.units WHERE id = NEW.debit;
      UPDATE ledger_accounts SET balance = balance + NEW.units WHERE id = NEW.credit;
      PERFORM set_config('hyper.ledger_checked', '', true);
      RETURN NULL;
    END $$`
  yield* sql`CREATE TRIGGER post AFTER INSERT ON ledger_transfers FOR EACH ROW EXECUTE FUNCTION ledger_post()`
  yield* sql`CREATE FUNCTION ledger_account_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'INSERT' THEN
        IF NEW.balance <> 0 THEN RAISE EXCEPTION 'ledger: a new account has nothing' USING ERRCODE = 'restrict_violation'; END IF;
        RETURN NEW;
      END IF;
      IF pg_trigger_depth() < 2 OR NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.tenant <> OLD.tenant THEN
        RAISE EXCEPTION 'ledger: balances follow from transfers alone' USING ERRCODE = 'restrict_violation';
      END IF;
      RETURN NEW;
    END $$`
  yield* sql`CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON ledger_accounts FOR EACH ROW EXECUTE FUNCTION ledger_account_guard()`
  // At commit, so the rows are looked up again: the trigger's own are those of an earlier statement.
  yield* sql`CREATE FUNCTION ledger_check_escrow(account text) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE wrong record;
    BEGIN
      SELECT p.run_id, p.step_id, a.balance, CASE WHEN p.settled_at IS NULL THEN p.units ELSE 0 END AS due INTO wrong
        FROM ledger_pools p JOIN ledger_accounts a ON a.id = p.escrow
        WHERE p.escrow = account AND a.balance <> CASE WHEN p.settled_at IS NULL THEN p.units ELSE 0 END;
      IF FOUND THEN
        RAISE EXCEPTION 'ledger: pool % of run % must have % units in escrow, not %', wrong.step_id, wrong.run_id, wrong.due, wrong.balance USING ERRCODE = 'check_violation';
      END IF;
    END $$`
  yield* sql`CREATE FUNCTION ledger_check() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE off numeric;
    BEGIN
      PERFORM ledger_check_escrow(NEW.debit);
      PERFORM ledger_check_escrow(NEW.credit);
      -- once a transaction: the last posting cleared the mark, the first check after it looks at everything
      IF current_setting('hyper.ledger_checked', true) = 'yes' THEN RETURN NULL; END IF;
      SELECT sum(balance) INTO off FROM ledger_accounts;
      IF off <> 0 THEN RAISE EXCEPTION 'ledger: all balances must add up to 0, not %', off USING ERRCODE = 'check_violation'; END IF;
      PERFORM set_config('hyper.ledger_checked', 'yes', true);
      RETURN NULL;
    END $$`
  yield* sql`CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON ledger_transfers DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check()`
  yield* sql`CREATE FUNCTION ledger_pool_check() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM ledger_check_escrow(NEW.escrow);
      RETURN NULL;
    END $$`
  yield* sql`CREATE CONSTRAINT TRIGGER whole AFTER INSERT OR UPDATE ON ledger_pools DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_pool_check()`
  yield* sql`CREATE FUNCTION ledger_pool_guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF OLD.settled_at IS NOT NULL THEN RAISE EXCEPTION 'ledger: pool % of run % is settled', OLD.step_id, OLD.run_id USING ERRCODE = 'restrict_violation'; END IF;
      RETURN NEW;
    END $$`
  yield* sql`CREATE TRIGGER settled_once BEFORE UPDATE ON ledger_pools FOR EACH ROW EXECUTE FUNCTION ledger_pool_guard()`
  yield* sql`CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger_transfers FOR EACH ROW EXECUTE FUNCTION hyper_append_only()`
  for (const table of ["ledger_accounts", "ledger_pools", "ledger_accruals"]) {
    yield* sql`CREATE TRIGGER append_only BEFORE DELETE ON ${sql(table)} FOR EACH ROW EXECUTE FUNCTION hyper_append_only()`
  }
  for (const table of ["ledger_accounts", "ledger_transfers", "ledger_pools", "ledger_accruals"]) {
    yield* sql`CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ${sql(table)} FOR EACH STATEMENT EXECUTE FUNCTION hyper_append_only()`
  }
  yield* sql`INSERT INTO ledger_accounts (id, tenant, kind) VALUES ('issuance', '', 'issuance')`
})
