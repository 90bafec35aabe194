//! What a server answers to one statement, held to the limits while it is read.

use std::pin::Pin;

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use sqlx::mysql::MySqlQueryResult;
use sqlx::postgres::PgQueryResult;
use sqlx::{AssertSqlSafe, Column, Database, Either, MySql, MySqlConnection, PgConnection, Postgres, Row};

use super::postgres_value;
use super::value::{self, Value};

/// The most rows of an answer.
pub const MAX_ROWS: usize = 10_000;
/// The most bytes of an answer; a value counts a few more than its own.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;
/// What a value costs beside its own bytes.
const VALUE_BYTES: usize = 16;

/// The answer to a query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// The names of the columns, in order.
    pub columns: Vec<String>,
    /// The rows; each has as many values as there are columns.
    pub rows: Vec<Vec<Value>>,
}

/// Takes an answer piece by piece.
pub(super) struct Collector {
    keep: bool,
    rows: Rows,
    bytes: usize,
    affected: u64,
    fault: Option<String>,
}

impl Collector {
    /// Only counts; rows are read past.
    pub(super) fn counting() -> Self {
        Self {
            keep: false,
            rows: Rows::default(),
            bytes: 0,
            affected: 0,
            fault: None,
        }
    }

    /// Keeps the rows.
    pub(super) fn keeping() -> Self {
        Self {
            keep: true,
            ..Self::counting()
        }
    }

    /// Why the answer can't be had, if so.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    pub(super) fn affected(&self) -> u64 {
        self.affected
    }

    pub(super) fn into_rows(self) -> Rows {
        self.rows
    }

    fn take<R: Row>(&mut self, row: &R, values: Result<Vec<Value>, String>) {
        if self.rows.columns.is_empty() {
            let names = row.columns().iter().map(|column| column.name().to_owned());
            self.rows.columns = names.collect();
        }
        let values = match values {
            Ok(values) => values,
            Err(why) => {
                self.fault = Some(why);
                return;
            }
        };
        let bytes = values
            .iter()
            .map(|value| value.size() + VALUE_BYTES)
            .sum::<usize>();
        self.bytes = self.bytes.saturating_add(bytes);
        if self.rows.rows.len() == MAX_ROWS || self.bytes > MAX_ANSWER_BYTES {
            let limit = format!("{MAX_ROWS} rows and {} MiB", MAX_ANSWER_BYTES >> 20);
            self.fault = Some(format!(
                "the answer has more than {limit}, so the connection was closed"
            ));
            return;
        }
        self.rows.rows.push(values);
    }
}

type Answers<'a, DB> =
    BoxStream<'a, Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, sqlx::Error>>;

/// Sends a statement, without parameters by the text protocol. A macro, since what sqlx wants of a value differs by driver. `kept` is
/// whether the prepared statement gets a name.
macro_rules! sent {
    ($driver:expr, $statement:expr, $parameters:expr, kept: $kept:expr) => {
        if $parameters.is_empty() {
            sqlx::raw_sql(AssertSqlSafe($statement)).fetch_many($driver)
        } else {
            let mut query = sqlx::query(AssertSqlSafe($statement)).persistent($kept);
            for parameter in $parameters {
                query = match parameter {
                    Value::Null => query.bind(None::<String>),
                    Value::Text(text) => query.bind(text),
                    Value::Integer(number) => query.bind(number),
                    Value::Real(number) => query.bind(number),
                    Value::Bytes(bytes) => query.bind(bytes),
                };
            }
            #[expect(
                deprecated,
                reason = "it is marked for those who send several statements at once"
            )]
            query.fetch_many($driver)
        }
    };
}

pub(super) async fn mysql(
    driver: &mut MySqlConnection,
    statement: String,
    parameters: Vec<Value>,
    collector: &mut Collector,
) -> Result<(), sqlx::Error> {
    let answers: Answers<'_, MySql> = sent!(driver, statement, parameters, kept: false);
    collect::<MySql>(
        answers,
        collector,
        MySqlQueryResult::rows_affected,
        value::mysql_row,
    )
    .await
}

pub(super) async fn postgres(
    driver: &mut PgConnection,
    statement: String,
    parameters: Vec<Value>,
    collector: &mut Collector,
) -> Result<(), sqlx::Error> {
    // The library asks what a type is that it doesn't know, and by that a statement without a name is lost.
    let answers: Answers<'_, Postgres> = sent!(driver, statement, parameters, kept: true);
    collect::<Postgres>(
        answers,
        collector,
        PgQueryResult::rows_affected,
        postgres_value::row,
    )
    .await
}

/// Takes the answers until they end or one can't be had.
async fn collect<DB: Database>(
    mut answers: Answers<'_, DB>,
    collector: &mut Collector,
    affected: fn(&DB::QueryResult) -> u64,
    values: fn(&DB::Row) -> Result<Vec<Value>, String>,
) -> Result<(), sqlx::Error> {
    while let Some(answer) = Pin::new(&mut answers).try_next().await? {
        match answer {
            Either::Left(done) => collector.affected = collector.affected.saturating_add(affected(&done)),
            Either::Right(row) if collector.keep => collector.take(&row, values(&row)),
            Either::Right(_) => {}
        }
        if collector.fault.is_some() {
            break;
        }
    }
    Ok(())
}
