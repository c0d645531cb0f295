//! Goodput over time, as SVG.

use plotters::{
    backend::SVGBackend,
    chart::ChartBuilder,
    drawing::IntoDrawingArea,
    series::LineSeries,
    style::{BLACK, Color, Palette, Palette99, WHITE},
};

use super::{Outcomes, play::Contender};

/// Draws the first seed of each contender in the scenarios that show most.
pub fn write(outcomes: &Outcomes) {
    for name in ["D", "F"] {
        draw(name, outcomes);
    }
}

fn draw(name: &'static str, outcomes: &Outcomes) {
    let path = format!(
        "{}/docs/bench/goodput-{}.svg",
        env!("CARGO_MANIFEST_DIR"),
        name.to_lowercase()
    );
    let area = SVGBackend::new(&path, (900, 400)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..600.0, 0.0..8.0)
        .unwrap();
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_desc("successes a second")
        .draw()
        .unwrap();
    for (index, contender) in Contender::ALL.into_iter().enumerate() {
        let Some(outcome) = outcomes.get(&(name, contender)).and_then(|all| all.first()) else {
            continue;
        };
        let color = Palette99::pick(index);
        let width = if contender == Contender::Facade { 3 } else { 1 };
        let points = outcome.series.iter().enumerate();
        let line = points.map(|(slot, count)| (slot as f64 * 10.0 + 5.0, count / 10.0));
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(width)))
            .unwrap()
            .label(contender.name())
            .legend(move |(x, y)| {
                plotters::element::PathElement::new([(x, y), (x + 20, y)], color.stroke_width(width))
            });
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
        .unwrap();
    area.present().unwrap();
}
