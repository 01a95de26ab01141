//! `LEADERBOARD_METRICS`: the default metric of a board, and which values of each metric are better.

use std::str::FromStr;

use events::Order;

/// Metrics in their order, each with the order of its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoardMetrics(Vec<(String, Order)>);

/// An invalid entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoardMetricsError {
    /// It can't be read.
    #[error("LEADERBOARD_METRICS: {0:?} is no metric with its order, as image_auc:desc or latency_ms:asc")]
    Unreadable(String),
    /// Its metric was named before.
    #[error("LEADERBOARD_METRICS names {0:?} twice")]
    Twice(String),
}

impl BoardMetrics {
    /// Returns the default metric.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(|(metric, _)| metric.as_str())
    }

    /// Returns which values of a metric are better; by default, the greater ones.
    #[must_use]
    pub fn order_of(&self, metric: &str) -> Order {
        self.0.iter().find(|(name, _)| name == metric).map_or(Order::Desc, |(_, order)| *order)
    }
}

impl FromStr for BoardMetrics {
    type Err = BoardMetricsError;

    /// Reads `image_auc:desc,latency_ms:asc`. The order is behind the last colon; a name may have others.
    fn from_str(text: &str) -> Result<Self, BoardMetricsError> {
        let mut metrics: Vec<(String, Order)> = Vec::new();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let read = |part: &str| match part.rsplit_once(':').map(|(name, order)| (name.trim(), order.trim().parse())) {
            Some((name, Ok(order))) if !name.is_empty() => Ok((name.to_owned(), order)),
            _ => Err(BoardMetricsError::Unreadable(part.to_owned())),
        };
        for part in parts {
            let (name, order) = read(part)?;
            if metrics.iter().any(|(known, _)| *known == name) {
                return Err(BoardMetricsError::Twice(name));
            }
            metrics.push((name, order));
        }
        Ok(Self(metrics))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_metrics_is_read_and_a_mistake_is_named() {
        let metrics: BoardMetrics = " image_auc:desc, latency_ms:asc ,a:b:asc,".parse().unwrap();
        assert_eq!(metrics.first(), Some("image_auc"));
        assert_eq!(metrics.order_of("latency_ms"), Order::Asc);
        assert_eq!(metrics.order_of("a:b"), Order::Asc);
        assert_eq!(metrics.order_of("other"), Order::Desc);
        assert_eq!("".parse(), Ok(BoardMetrics::default()));
        for bad in ["auc", "auc:up", ":desc"] {
            assert_eq!(bad.parse::<BoardMetrics>(), Err(BoardMetricsError::Unreadable(bad.to_owned())));
        }
        assert_eq!("auc:desc,auc:asc".parse::<BoardMetrics>(), Err(BoardMetricsError::Twice("auc".to_owned())));
    }
}
